"""Asking one judge: builds the requests, asks them, records the answers; `evaluate` computes metrics.json from them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from mtrl.config import datacard, prompting, samples, task_files
from mtrl.config.kinds import IMAGES, Pointwise
from mtrl.config.samples import SplitName
from mtrl.core.errors import UserError
from mtrl.core.files import sha256_file
from mtrl.evaluate import predictions, requests, rescore, scores
from mtrl.evaluate.engines.base import Answer, Engine, Sampling
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.identity import AskedTask, AskedWith, Identity
from mtrl.evaluate.probing.asked import Plan
from mtrl.evaluate.recording import Recording
from mtrl.evaluate.subject import Subject
from mtrl.models import integrity


def evaluate(
    judge: Subject,
    names: list[str],
    data: Path,
    split: SplitName,
    out: Path,
    votes: int,
    limit: int | None,
    engine: Callable[[Subject, int], Engine],
    tick: Callable[..., None],
    confidence: bool = False,
    pairs_from_scores: bool = False,
) -> scores.Scores:
    """As `ask`, and writes metrics.json. Raises MtrlError."""
    ask(judge, names, data, split, out, votes, limit, engine, tick, confidence, pairs_from_scores)
    return scores.score(out)


def ask(
    judge: Subject,
    names: list[str],
    data: Path,
    split: SplitName,
    out: Path,
    votes: int,
    limit: int | None,
    engine: Callable[[Subject, int], Engine],
    tick: Callable[..., None],
    confidence: bool = False,
    pairs_from_scores: bool = False,
    sift: bool = False,
    probe: Plan | None = None,
) -> None:
    """Asks what is not yet answered in `out`. Raises MtrlError.

    `votes` answers per item and order, sampled at temperature 1 where there is more than one; of the first `limit`
    samples. `engine` makes the engine from the judge and the largest number of images in a request; it is not called
    where nothing is left to ask. `tick` gets (answered, total); of a probe first what Plan.requests says.
    `pairs_from_scores`: pairwise tasks are asked as their pointwise ones, with confidence. `sift`: pairs are asked in
    the order "given" only.
    `probe`: what is asked in place of the split's samples.
    """
    chosen = {name: judge.task(name) for name in names}
    single = {name: judge.pointwise_of(task) for name, task in chosen.items()} if pairs_from_scores else {}
    confidence = confidence or pairs_from_scores
    asked = (
        probe.requests(chosen, judge.style, tick)
        if probe
        else {
            name: list(requests.build(task, judge.style, data, split, votes, limit, single.get(name), not sift))
            for name, task in chosen.items()
        }
    )
    if empty := [name for name, found in asked.items() if not found]:
        raise UserError(f"task {empty[0]} has no rows in split {split}", f"mtrl check {empty[0]}")
    sampling = Sampling(judge.max_new_tokens, 1.0 if votes > 1 else 0.0, confidence=confidence)
    prompts_of = {**chosen, **single}
    cards = {name: datacard.read(data, name) for name in chosen if datacard.path_of(data, name).exists()}
    prompt_hash = {name: prompting.sha256(task, judge.style) for name, task in prompts_of.items()}
    identity = Identity(
        schema=1,
        checkpoint=judge.fingerprint,
        path=judge.checkpoint,
        name=judge.name,
        model=judge.model,
        step=judge.step,
        run=judge.run,
        trained=list(judge.trained),
        prompts=judge.prompts,
        method=judge.method,
        style=judge.style,
        image=judge.image.model_dump(),
        sampling=AskedWith(
            max_tokens=sampling.max_tokens, temperature=sampling.temperature, votes=votes, confidence=confidence
        ),
        sift=sift,
        probe=probe.probed if probe else None,
        tasks={
            name: AskedTask(
                split=split,
                prompt_sha256=prompt_hash[name],
                samples_sha256=sha256_file(samples.path_of(data, name, split)),
                limit=limit,
                conversion_limit=cards[name].limit if name in cards else None,
                agreement=cards[name].agreement if name in cards else None,
                probe_sha256=probe.sha256[name] if probe else None,
                requests=len(asked[name]),
                choices=prompts_of[name].choices,
                pair=None if task.pair == IMAGES else task.pair,
                pointwise=Pointwise(**task.pointwise.model_dump()) if pairs_from_scores and task.pointwise else None,
            )
            for name, task in chosen.items()
        },
    )
    with Recording(out, identity) as recording:
        recording.check(request for found in asked.values() for request in found)
        task_files.write([*chosen.values(), *single.values()], out / task_files.FOLDER)
        left = [request for found in asked.values() for request in found if request.key not in recording.rows]
        total = sum(map(len, asked.values()))
        tick(total - len(left), total)
        if left:
            images = max(len(request.images) for request in left)
            asked_of = engine(judge, images)
            if probe:
                probe.check(asked_of, left)
            recording.note(engine=asked_of.describe())
            answers = integrity.watched(_answers(asked_of, left, sampling, probe), judge.check)
            rows = (predictions.of_answer(a, judge.style, prompt_hash[a.request.task]) for a in answers)
            for done, _ in enumerate(recording.append(rows), start=total - len(left) + 1):
                tick(done, total)
            recording.note(engine=asked_of.describe())  # with what the endpoint would not take
    rescore.reread(out, purpose=identity.purpose)  # earlier answers may have been read by an older parser


def _answers(engine: Engine, left: list[Request], sampling: Sampling, probe: Plan | None) -> Iterator[Answer]:
    """Of a probe part by part, since its images are there only while they are asked about."""
    if not probe:
        yield from engine.answers(left, sampling)
        return
    with contextlib.closing(probe.drawings.parts(left)) as parts:
        for part in parts:
            yield from engine.answers(part, sampling)
