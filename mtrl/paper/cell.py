"""One cell of the matrix: one checkpoint of Table 2 or 3, and what its folders say of it. Nothing is started here.

A cell's state is read from runs/<name>/ and exports/<name>/ alone: status.json, select.json, mtrl.json, metrics.json.
So a cell that was trained or scored elsewhere is seen as soon as its folder is there, and nothing can disagree with the
folders.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from mtrl.backends import checkpoint_folders, traces
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import UserError
from mtrl.core.files import read_json, read_jsonl
from mtrl.core.nested import differing
from mtrl.core.rundir import Run, checked, evaluation, listing
from mtrl.evaluate import predictions, scores
from mtrl.evaluate.identity import IDENTITY, read_identity
from mtrl.models.card import FILE as CARD
from mtrl.paper import scored
from mtrl.paper.scored import Scored

LOCK, LOG, STEPS = "reproduce.lock", "reproduce.log", "steps.jsonl"  # next to a run's own files

State = Literal["done", "running", "failed", "left"]


class Step(NamedTuple):
    """One command of `mtrl` on the way to a cell's score. `shown` is its progress in a word or two."""

    name: Literal["train", "select", "export", "eval"]
    done: bool
    shown: str
    command: list[str]


@dataclass(frozen=True)
class Place:
    """The folders."""

    data: Path
    runs: Path
    exports: Path = Path("exports")


@dataclass(frozen=True)
class Cell:
    """One checkpoint of a table.

    method   the row of the table
    task     the task that a single-task judge is trained on; "" for the others
    seed     None without --seeds, and for the model that is not trained
    columns  the tasks it is scored on
    options  what `mtrl sft` or `mtrl rl` gets after the recipe
    """

    method: str
    task: str
    seed: int | None
    columns: tuple[str, ...]
    options: tuple[str, ...]
    recipe: Recipe
    place: Place

    @property
    def label(self) -> str:
        """METHOD[:TASK[:SEED]], as --only takes it."""
        return f"{self.method}:{self.task}:{'' if self.seed is None else self.seed}".rstrip(":")

    def named_by(self, wanted: str) -> bool:
        """Whether METHOD[:TASK[:SEED]] names it; an empty task or seed names all of them."""
        method, _, rest = wanted.partition(":")
        task, _, seed = rest.partition(":")
        return method == self.method and task in ("", self.task) and seed in ("", str(self.seed))

    @property
    def name(self) -> str:
        """The folder's name, below runs/ and below exports/."""
        return self.folder.name

    @cached_property
    def folder(self) -> Path:
        """Where it is or will be. A run of the very same recipe under another name (such as the demo's) is used, and so
        are scores of the same untrained model."""
        if self.recipe.stage is None:  # where `mtrl eval` puts its scores
            own = self.place.runs / evaluation(Path(self.recipe.model.path).name)
            found = scored.evaluations(self.place.runs)[0]
            mine = [one for one in found if one.method == self.method and self._is_of(one.checkpoint)]
            same = [one.file.parent for one in mine if not any(task.from_scores for task in one.tasks.values())]
        else:
            seed = "" if self.seed is None else f"-seed{self.seed}"
            own = self.place.runs / checked(self.recipe.default_name + seed, "run")
            begun = [run for run in listing(self.place.runs) if run.status.state != "planned"]
            same = [self.place.runs / run.name for run in begun if not self._other_keys(run)]
        return own if own.exists() or not same else same[0]

    def _is_of(self, model: str) -> bool:
        return model == self.recipe.model.path or Path(model).resolve() == Path(self.recipe.model.path).resolve()

    @property
    def run(self) -> Run:
        return Run(self.folder)

    @property
    def export(self) -> Path:
        return self.place.exports / self.name

    @property
    def scores(self) -> Path:
        """The folder of its evaluation."""
        return self.folder if self.recipe.stage is None else self.folder / "eval"

    def result(self) -> dict[str, Scored]:
        """Its numbers by column, without those that are of something else now (marks.py)."""
        return {task: one for task, one in self._numbers().items() if not any(mark.stale for mark in one.marks)}

    def stale(self) -> str:
        """Why the scores in its folder are not this cell's; "" where they are."""
        reasons = [mark.reason for one in self._numbers().values() for mark in one.marks if mark.stale]
        return f"{self.scores}: {reasons[0]}" if reasons else ""

    def _numbers(self) -> dict[str, Scored]:
        file = self.scores / scores.METRICS
        try:
            one = scores.read(file) if file.exists() else None
        except UserError:  # `mtrl eval`, which is run again, says what is wrong with it
            one = None
        if one is None or one.method != self.method:
            return {}
        return {
            task: scored.of(one, task, self.place.data)
            for task in self.columns
            if task in one.tasks and not one.tasks[task].from_scores and not scored.why_not(one, task)
        }

    def steps(self) -> list[Step]:
        """Its steps, in order. A later step that is done vouches for the earlier ones: copied scores need no run."""
        where = ["--data", str(self.place.data), "--runs", str(self.place.runs)]
        run, trains = self.run, self.recipe.stage is not None
        scored = len(self.result()) == len(self.columns)
        model = str(self.export) if trains else self.recipe.model.path
        ask = ["eval", "--ckpt", model, "--tasks", ",".join(self.columns), "--out", str(self.scores), *where]
        steps = [Step("eval", scored, "done" if scored else _answered(self.scores), ask)]
        if not trains:
            return steps
        card = self.export / CARD
        exported = scored or (card.exists() and read_json(card)["run"] == run.name)
        write = ["export", run.name, "--step", "best", "--out", str(self.export), "--runs", str(self.place.runs)]
        trained = exported or run.status.state == "done"
        train = [str(self.recipe.stage), self.method, *self.options, "--name", run.name, *where]
        before = [Step("train", trained, "done" if trained else _progress(run), train)]
        if self.recipe.stage == "sft":  # an RL run's best is by its trainer's own validation accuracy, as in the paper
            chosen = exported or _selected(run)
            before.append(Step("select", chosen, "done" if chosen else "", ["select", run.name, *where]))
        return [*before, Step("export", exported, "done" if exported else "", write), *steps]

    def left(self) -> list[Step]:
        """The steps that are not done."""
        return [step for step in self.steps() if not step.done]

    def state(self) -> tuple[State, str]:
        """The state, and why it failed."""
        if other := self.other_recipe():
            differ = f"{self.folder} is a run of another recipe; different now: {', '.join(other)}"
            return "failed", f"{differ} (repeat the --set of that run, or move it away)"
        if old := self.stale():
            return "failed", f"{old} (move {self.scores} away, then the same command scores it again)"
        if not self.left():
            return "done", ""
        if self.run.locked() or self.run.locked(LOCK):
            return "running", ""
        status = self.run.status
        return ("failed", status.reason or "") if status.state == "failed" else ("left", "")

    def other_recipe(self) -> list[str]:
        """The keys in which the run in its folder differs from its recipe; none where there is no run."""
        if self.recipe.stage is None or self.run.status.state == "planned":
            return []
        return self._other_keys(self.run)

    def _other_keys(self, run: Run) -> list[str]:
        now = self.recipe.model_dump(mode="json", exclude_none=True)
        return [key for key in differing(run.recipe, now) if key != "model.path"]  # the same model may be elsewhere

    def hours(self) -> float:
        """Wall-clock hours so far: all attempts of the training, and the other steps that were run to their end."""
        others = sum(
            row["seconds"]
            for row in read_jsonl(self.folder / STEPS)
            if type(row.get("seconds")) in (int, float) and row.get("step") != "train"
        )
        return float(self.run.seconds() + others) / 3600

    def rows(self) -> int:
        """The number of rows that an epoch draws."""
        return traces.rows(self.recipe, self.place.data)

    def work(self) -> float:
        """Rows times epochs: training time is proportional to it within a stage."""
        stage = self.recipe.sft or self.recipe.rl
        return self.rows() * float(stage.epochs) if stage else 0.0


def _progress(run: Run) -> str:
    rows = run.metrics
    return f"{rows[-1]['step']}/{rows[-1].get('total_steps', '?')}" if rows else ""


def _selected(run: Run) -> bool:
    """Whether mtrl select has scored every checkpoint that there is."""
    chosen = run.selected
    return chosen is not None and {str(step) for step in checkpoint_folders.steps(run)} <= set(chosen.scores)


def _answered(folder: Path) -> str:
    """How many requests of an evaluation are answered, of how many."""
    if not (folder / IDENTITY).exists() or not (folder / predictions.FILE).exists():
        return ""
    asked = sum(task.requests for task in read_identity(folder).tasks.values())
    with (folder / predictions.FILE).open("rb") as file:
        return f"{sum(1 for _ in file):,}/{asked:,}"
