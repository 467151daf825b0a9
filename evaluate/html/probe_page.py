"""probe.html: what each change does to a judge's verdicts, in numbers and with a few rows, as they are and changed.

It is markup without a script, and opens from disk. Images are thumbnails in the page; the changed ones are made again
from the data, as they were asked.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mtrl.config import task_files
from mtrl.config.kinds import INVALID
from mtrl.core import targets
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.html import page, thumbnails
from mtrl.evaluate.html.content import cut
from mtrl.evaluate.predictions import Evaluation
from mtrl.evaluate.probing import effects, findings, perturbations
from mtrl.evaluate.probing.asked import Plan
from mtrl.evaluate.probing.effects import Pair, TaskProbe
from mtrl.evaluate.probing.perturbations import Expected

FILE = "probe.html"
EXAMPLES = 20  # of each perturbation of a task
LONG = 2000  # characters of an answer that are shown
COLOURS = {("same", True): "wrong", ("same", False): "right", ("opposite", True): "right", ("opposite", False): "wrong"}
MOVES = {"same": "no", "opposite": "yes", "look": "if it looks", "depends": "perhaps"}
TERMS = ("verdict", "label", "invalid", "n", "flips", "should move", "95% interval", "cluster", "accuracy")


@dataclass(frozen=True)
class Example:
    """A row as it is and changed, with both answers."""

    id: str
    level: str
    """In words."""
    before: str
    after: str
    """The verdicts; of a pair in the other order, as of the order as it is."""
    flipped: bool
    colour: str
    """A class of the page's CSS: whether it moved as it should, "open" where that is not known or nothing is said."""
    label: str
    right: str
    """What is right after the change, in the order that was asked."""
    images: list[str]
    """Of the row as it is: base64 JPEGs, "" for one that cannot be shown."""
    changed: list[str]
    """Of the row as it was asked; empty where the images are the same."""
    fields: dict[str, str]
    prompt: str
    """What was asked; "" where it is what was asked about the row as it is."""
    answers: tuple[str, str]


def write(
    folder: Path,
    run: Evaluation,
    found: dict[str, TaskProbe],
    plan: Plan,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Writes `folder`/probe.html; `run` has the answers to all that `plan` asked. Raises UserError and MtrlError."""
    targets.check_file(folder / FILE)
    tasks = {name: task_files.load(name, run.home) for name in found}
    chosen = {name: _chosen(run, name, plan.probed.seed) for name in found}
    shown = [pair for task in chosen.values() for its in task.values() for pair in its]
    thumbs = _thumbnails(plan, shown, tick)
    examples = {
        name: {
            of: [_example(pair, perturbations.ALL[of].expected_of(tasks[name]), plan, thumbs) for pair in its]
            for of, its in task.items()
        }
        for name, task in chosen.items()
    }
    pieces = page.environment().get_template("probe.html.jinja").generate(
        identity=run.identity,
        probed=plan.probed,
        found=found,
        findings=findings,
        moves=MOVES,
        perturbations=perturbations.ALL,
        examples=examples,
        blurred={name for name, task in tasks.items() if task.capability == "safety"},
        few=effects.FEW,
        terms=TERMS,
    )  # fmt: skip
    return page.save(folder / FILE, pieces)


def _chosen(run: Evaluation, task: str, seed: int) -> dict[str, list[Pair]]:
    """By perturbation up to EXAMPLES rows of all its levels: flips, answers that are lost, others; each by the seed."""

    def place(pair: Pair) -> tuple[bool, bool, bytes]:
        name = f"{seed} {pair.after.variant} {pair.after.id}"
        return not pair.flipped, not pair.lost, hashlib.sha256(name.encode()).digest()

    by_name: dict[str, list[Pair]] = {}
    for variant, its in effects.pairs(run, task).items():
        by_name.setdefault(perturbations.LEVELS[variant][0].name, []).extend(its)
    return {name: sorted(its, key=place)[:EXAMPLES] for name, its in by_name.items()}


def _thumbnails(plan: Plan, shown: list[Pair], tick: Callable[[int, int], None]) -> dict[Path, str]:
    """A base64 JPEG for each image of these rows, as they are and changed."""
    asked = dict.fromkeys(side.key for pair in shown for side in pair[:2])
    requests = [plan.asked[key] for key in asked]
    as_they_are = [file for pair in shown for file in plan.asked[pair.before.key].images]
    side, made, done = thumbnails.side_for(as_they_are * 2), dict[Path, str](), 0
    with contextlib.closing(plan.drawings.parts(requests)) as parts:
        for part in parts:
            made.update(_of_part(part, side, made))
            done += len(part)
            tick(done, len(requests))
    return made


def _of_part(part: list[Request], side: int, made: dict[Path, str]) -> Iterator[tuple[Path, str]]:
    files = {file: request.orient for request in part for file in request.images if file not in made}
    names = {str(file.absolute()): file for file in files}
    upright = {name for name, file in names.items() if files[file]}
    for name, encoded in thumbnails.make(Path("/"), list(names), side, lambda done, total: None, upright):
        yield names[name], encoded


def _example(pair: Pair, expected: Expected, plan: Plan, thumbs: dict[Path, str]) -> Example:
    before, after = plan.asked[pair.before.key], plan.asked[pair.after.key]
    of, level = perturbations.LEVELS[after.variant]
    said = pair.verdicts
    return Example(
        id=after.id,
        level=of.levels[level],
        before=said[0],
        after=said[1],
        flipped=pair.flipped,
        colour="open" if INVALID in said else COLOURS.get((expected, pair.flipped), "open"),
        label=before.label,
        right=after.label,
        images=[thumbs[file] for file in before.images],
        changed=[thumbs[file] for file in after.images] if after.images != before.images else [],
        fields=plan.drawn[after.task][after.id].fields,
        prompt="" if after.prompt == before.prompt else after.prompt,
        answers=(cut(pair.before.response, LONG), cut(pair.after.response, LONG)),
    )
