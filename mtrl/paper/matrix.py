"""The cells of Table 2 or 3, one checkpoint each, and what the folders say of them. Nothing is started here.

A cell's state is read from runs/<name>/ and exports/<name>/ alone: status.json, select.json, mtrl.json, metrics.json. So a
cell that was trained or scored elsewhere is seen as soon as its folder is there, and there is nothing to get out of step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from mtrl.backends import checkpoint_folders
from mtrl.config import recipe as recipes
from mtrl.config import sizes
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import UserError, nearest
from mtrl.core.files import read_json, read_jsonl
from mtrl.core.rundir import Run, checked, differing, evaluation, listing
from mtrl.evaluate import predictions, scores
from mtrl.models.card import FILE as CARD
from mtrl.paper import scored, tables
from mtrl.paper.scored import Scored

LOCK, LOG, STEPS = "reproduce.lock", "reproduce.log", "steps.jsonl"  # beside a run's own files
OPTIONS = {"tasks": "--only", "seed": "--seeds", "model": "--model", "hardware": "--hardware"}

State = Literal["done", "running", "failed", "left"]


class Step(NamedTuple):
    """One command of `mtrl`; `shown` says in a word or two how far it is."""

    name: Literal["train", "select", "export", "eval"]
    done: bool
    shown: str
    command: list[str]


@dataclass(frozen=True)
class Place:
    """Where everything lies."""

    data: Path
    runs: Path
    exports: Path = Path("exports")


@dataclass(frozen=True)
class Cell:
    """One checkpoint of a table. `options` are what `mtrl sft|rl` gets beside the recipe, `columns` what it is scored on."""

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

    @property
    def name(self) -> str:
        """The folder's, below runs/ and below exports/."""
        return self.folder.name

    @cached_property
    def folder(self) -> Path:
        """Where it is, or will be. What lies there under another name (the demo's runs do) is taken as it is: a run of
        the very same recipe, and scores of the same untrained model."""
        if self.recipe.stage is None:  # where `mtrl eval` puts its scores
            own = self.place.runs / evaluation(Path(self.recipe.model.path).name)
            there = {one.file.parent: one for one in scored.evaluations(self.place.runs)[0]}
            same = [
                folder for folder, one in there.items() if one.method == self.method and self._is_of(one.checkpoint)
            ]
        else:
            seed = "" if self.seed is None else f"-seed{self.seed}"
            own = self.place.runs / checked(self.recipe.default_name + seed, "run")
            begun = [run for run in listing(self.place.runs) if run.status.get("state", "planned") != "planned"]
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
        return self.folder if self.recipe.stage is None else self.folder / "eval"

    def result(self) -> dict[str, Scored]:
        """Its numbers by column: those that may stand in a table and are not of something else, see mtrl.scored."""
        return {task: cell for task, cell in self._numbers().items() if not any(mark.stale for mark in cell.marks)}

    def stale(self) -> str:
        """Why the scores that lie there are not this cell's, "" where they are."""
        reasons = [mark.reason for cell in self._numbers().values() for mark in cell.marks if mark.stale]
        return f"{self.scores}: {reasons[0]}" if reasons else ""

    def _numbers(self) -> dict[str, Scored]:
        file = self.scores / "metrics.json"
        try:
            one = scores.read(file) if file.exists() else None
        except UserError:  # the step before says what is wrong with it
            one = None
        if one is None or one.method != self.method:
            return {}
        return {
            task: Scored(one, task, one.tasks[task], scored.marks(one, task, self.place.data))
            for task in self.columns
            if task in one.tasks and not scored.why_no_cell(one, task)
        }

    def steps(self) -> list[Step]:
        """What makes this cell, in order. What comes later vouches for what came before: a brought-back score needs no run."""
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
        trained = exported or run.status.get("state") == "done"
        train = [str(self.recipe.stage), self.method, *self.options, "--name", run.name, *where]
        before = [Step("train", trained, "done" if trained else _progress(run), train)]
        if self.recipe.stage == "sft":  # an RL run's best is by its trainer's own validation accuracy, as in the paper
            chosen = exported or _selected(run)
            before.append(Step("select", chosen, "done" if chosen else "", ["select", run.name, *where]))
        return [*before, Step("export", exported, "done" if exported else "", write), *steps]

    def state(self) -> tuple[State, str]:
        """(state, why it failed)."""
        if other := self.other_recipe():
            differ = f"{self.folder} was made with another recipe; different now: {', '.join(other)}"
            return "failed", f"{differ} (repeat the --set it was made with, or move it away)"
        if old := self.stale():
            return "failed", f"{old} (move {self.scores} away, then the same command scores it again)"
        if all(step.done for step in self.steps()):
            return "done", ""
        if self.run.locked() or self.run.locked(LOCK):
            return "running", ""
        status = self.run.status
        failed = status.get("state") == "failed"
        return ("failed", str(status.get("reason"))) if failed else ("left", "")

    def other_recipe(self) -> list[str]:
        """The keys in which the run that lies there is another one. Where the model lies is not what it is."""
        if self.recipe.stage is None or self.run.status.get("state", "planned") == "planned":
            return []
        return self._other_keys(self.run)

    def _other_keys(self, run: Run) -> list[str]:
        now = self.recipe.model_dump(mode="json", exclude_none=True)
        return [key for key in differing(run.recipe, now) if key != "model.path"]

    def hours(self) -> float:
        """Wall-clock hours so far: training, all attempts, and the other steps that this driver ran to their end."""
        others = sum(
            row["seconds"]
            for row in read_jsonl(self.folder / STEPS)
            if type(row.get("seconds")) in (int, float) and row.get("step") != "train"
        )
        return float(self.run.seconds() + others) / 3600

    def rows(self) -> int:
        """How many converted rows it trains on."""
        return sizes.rows(self.recipe, self.place.data)

    def work(self) -> float:
        """Rows times epochs: what training time is proportional to within a stage."""
        stage = self.recipe.sft or self.recipe.rl
        return self.rows() * float(stage.epochs) if stage else 0.0


def cells(
    number: int, model: str | None, hardware: str | None, seeds: list[int], sets: list[str], place: Place
) -> list[Cell]:
    """Every cell of a table, seed by seed. `sets` are --set's, each for the stages it speaks of. Raises UserError."""
    about, every = tables.layout()[f"table{number}"], tables.table_tasks(2)
    presets = [f"--{key}={value}" for key, value in (("model", model), ("hardware", hardware)) if value]
    found: list[Cell] = []
    each: list[int | None] = [*seeds] or [None]
    for seed in each:
        for method in about["rows"]:
            single, stage = method.endswith("_single"), method.split("_")[0]
            if stage == "zero" and found:
                continue  # nothing is trained: the same for every seed
            for task in about["columns"] if single else [""]:
                own = _of_stage(sets, stage) + ([] if seed is None or stage == "zero" else [f"seed={seed}"])
                recipe = recipes.load(method, model, hardware, task or None, own, place.data)
                if not single and recipe.stage and recipe.tasks != every:  # a paper.yaml with columns of its own
                    own = [f"tasks={','.join(every)}", *own]
                    recipe = recipes.load(method, model, hardware, None, own, place.data)
                options = (*presets, *([f"--tasks={task}"] if single else []), *(f"--set={text}" for text in own))
                columns = (task,) if single else tuple(about["columns"])
                found.append(Cell(method, task, None if stage == "zero" else seed, columns, options, recipe, place))
    return found


def _of_stage(sets: list[str], stage: str) -> list[str]:
    """Those of --set's that a stage's recipes take: `sft:KEY=VALUE` and sft.* SFT's alone, rl likewise, all others both."""
    own = []
    for text in sets:
        named, colon, rest = text.partition(":")
        only = named if colon and named in ("sft", "rl") else ""
        setting = rest if only else text
        key = setting.partition("=")[0].strip()
        if key in OPTIONS:
            raise UserError(f"--set {text}: the matrix has its own {key}", f"pass {OPTIONS[key]}")
        of = key.partition(".")[0] if key.startswith(("sft.", "rl.")) else ""
        if only and of and only != of:
            raise UserError(f"--set {text}: {key} is no key of the {only} stage", f"--set {setting}")
        only = only or of
        if stage == only or (not only and stage in ("sft", "rl")):
            own.append(setting)
    return own


def choose(found: list[Cell], only: list[str]) -> list[Cell]:
    """The cells that METHOD[:TASK[:SEED]] name, in the matrix's order; all where nothing is named. Raises UserError."""
    chosen: set[str] = set()
    for wanted in only:
        parts = [*wanted.split(":"), "", ""][:3]
        fits = {
            cell.label
            for cell in found
            if all(
                not part or part == own
                for part, own in zip(parts, (cell.method, cell.task, str(cell.seed)), strict=True)
            )
        }
        if not fits or wanted.count(":") > 2 or not parts[0]:
            labels = {cell.label for cell in found}
            raise UserError(f"--only {wanted}: no such cell.{nearest(wanted, labels | {c.method for c in found})}")
        chosen |= fits
    return [cell for cell in found if not only or cell.label in chosen]


def _progress(run: Run) -> str:
    rows = run.metrics
    return f"{rows[-1]['step']}/{rows[-1].get('total_steps', '?')}" if rows else ""


def _selected(run: Run) -> bool:
    """Whether mtrl select has scored every checkpoint that there is."""
    return run.selected is not None and {str(step) for step in checkpoint_folders.steps(run)} <= set(
        run.selected.scores
    )


def _answered(folder: Path) -> str:
    """How many of the requests of an evaluation are answered."""
    if not (folder / "eval.json").exists() or not (folder / "predictions.jsonl").exists():
        return ""
    asked = sum(task["requests"] for task in predictions.read_identity(folder)["tasks"].values())
    with (folder / "predictions.jsonl").open("rb") as file:
        return f"{sum(1 for _ in file):,}/{asked:,}"
