"""The cards of an evaluation's samples: of one judge for the report, of two for a comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from mtrl.config import prompting, samples, task_files, tasks
from mtrl.config.kinds import INVALID
from mtrl.config.samples import Order, Sample
from mtrl.evaluate.html.content import LONG, Card, CardAnswer, PageTask, Prompt, cut, parted, sides, why_invalid
from mtrl.evaluate.metrics.prediction import Prediction, voted
from mtrl.evaluate.predictions import Evaluation
from mtrl.evaluate.requests import first_image

Item = tuple[str, Order]  # sample id and order


@dataclass
class Asked:
    """One judge's answers to one task, and what its prompts consist of."""

    style: str
    choices: tuple[str, ...]
    prompt_sha256: str
    pointwise: str = ""
    """The task that was asked about each image of a pair (`--pairs-from-scores`)."""
    answers: dict[Item, list[Prediction]] = field(default_factory=dict)
    prompt: Prompt = field(default_factory=lambda: Prompt("", ""))
    questions: dict[Item, str] = field(default_factory=dict)


def of_task(
    name: str, runs: list[Evaluation], data: Path, found_by: Callable[[Card], list[str]], only: set[Item] | None = None
) -> tuple[PageTask, list[Card]]:
    """The cards of the items that every judge answered, or of `only` some of them.

    They are in the order of the converted data; items that are no longer there come last, without question and images.
    """
    asked = [_answers(name, run) for run in runs]
    items = [item for item in asked[0].answers if all(item in run.answers for run in asked)]
    items = [item for item in items if only is None or item in only]
    shown = dict(_shown(runs[0], name, data, set(items)))
    task = None  # without converted data nothing of it is needed
    for run, of in zip(asked, runs, strict=True):
        if shown:
            task = task_files.load(name, of.home)
            if run.pointwise:
                single = task_files.load(run.pointwise, of.home)
                _ask(single, run, {item: first_image(sample, task, single) for item, sample in shown.items()})
            else:
                _ask(task, run, shown)
    known = {item: n for n, item in enumerate(shown)}
    cards = []
    for item in sorted(items, key=lambda item: known.get(item, len(known))):
        label, answers, sample = asked[0].answers[item][0].label, [_answer(run, item) for run in asked], shown.get(item)
        card = Card(name, *item, label, answers=answers)
        if sample:
            images, fields = list(sample.images), list(sample.fields.items())
            card = replace(card, images=images, names=_names(sample), fields=fields, group=sample.group)
        cards.append(replace(card, found_by=found_by(card)))
    pair = any(order == "turned" for _, order in items)
    blur = task is not None and task.capability == "safety"
    prompts = [run.prompt for run in asked]
    return PageTask(asked[0].choices, pair, blur, prompts, *sides(task.pair if task else None)), together(cards)


def together(cards: list[Card]) -> list[Card]:
    """The cards with those of one group next to each other, at the place of the group's first one."""
    many = Counter(card.group for card in cards)
    first: dict[str, int] = {}
    placed = []
    for place, card in enumerate(cards):
        if many[card.group] <= len(card.images):  # both orders of one pair are no group
            card = replace(card, group="")
        placed.append((first.setdefault(card.group, place) if card.group else place, card))
    return [card for _, card in sorted(placed, key=lambda at: at[0])]


def _names(sample: Sample) -> list[str]:
    """The release's names of the images, unless the id is just that."""
    names = [str(name) for name in sample.source.get("files", []) if name]
    return [] if names == [sample.id] else names


def _answers(name: str, of: Evaluation) -> Asked:
    asked = of.identity.tasks[name]
    rows, choices = of.of_task(name)
    single = asked.pointwise.task if asked.pointwise else ""
    run = Asked(of.identity.style, choices, asked.prompt_sha256, single)
    for row in sorted(rows, key=lambda row: row.vote):
        run.answers.setdefault((row.id, row.order), []).append(row)
    return run


def _shown(run: Evaluation, name: str, data: Path, wanted: set[Item]) -> Iterator[tuple[Item, Sample]]:
    """The sample of each wanted item, swapped where the item is; nothing where the task is not converted here."""
    split = run.identity.tasks[name].split
    if samples.path_of(data, name, split).exists():
        pair = task_files.load(name, run.home).pair
        for sample in samples.read(data, name, split):
            for order in ("given", "turned"):
                if (sample.id, order) in wanted:
                    yield (sample.id, order), sample.swapped(pair) if pair and order == "turned" else sample


def _ask(task: tasks.Task, run: Asked, shown: dict[Item, Sample]) -> None:
    """Fills in the judge's prompts, by the present template."""
    render = prompting.renderer(task, run.style)
    shared, run.questions = parted({item: render(sample) for item, sample in shown.items()})
    run.prompt = shared._replace(changed=prompting.sha256(task, run.style) != run.prompt_sha256)


def _answer(run: Asked, item: Item) -> CardAnswer:
    rows, question = run.answers[item], run.questions.get(item, "")
    verdict = voted(rows)[0].verdict
    agree = [row for row in rows if (row.verdict or INVALID) == verdict]
    why = ""
    if verdict == INVALID:
        one = agree[0]
        why = (
            one.finish_reason if run.pointwise else why_invalid(one.response, run.style, run.choices, one.finish_reason)
        )
    responses = [cut(row.response, LONG // len(rows)) for row in rows]
    said = None if verdict == INVALID else verdict
    if len(rows) == 1:
        return CardAnswer(said, why, rows[0].confidence, [], responses, question)
    return CardAnswer(said, why, len(agree) / len(rows), [row.verdict for row in rows], responses, question)
