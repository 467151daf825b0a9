"""The judge that is asked: which weights, and how: prompts, image size, length of answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mtrl.config import task_files
from mtrl.config.published import table_tasks
from mtrl.config.recipe_types import Image, Style
from mtrl.config.tasks import Task
from mtrl.core.errors import UserError
from mtrl.core.files import sha256_file
from mtrl.models import card, experts, integrity, model_folder


@dataclass(frozen=True)
class Subject:
    """A judge, and how it was trained to be asked."""

    checkpoint: str
    """The folder, hub id or served name."""
    method: str
    """Its row in Table 2."""
    style: Style
    """The prompt style it is asked in."""
    image: Image
    """The range of image sizes."""
    max_new_tokens: int
    """Most tokens of one answer."""
    fingerprint: str
    """Its identity: another one is another judge."""
    told_by: str
    """The file that says how to ask it."""
    side: int
    """The pixels that its image processor rounds an image's sides to: a merged patch."""
    name: str
    """Its run's name, or the model's."""
    model: str = ""
    """The model preset that it was made from."""
    step: int | None = None
    """The training step."""
    run: str = ""
    """The run that it is of; "" where mtrl did not train it."""
    trained: tuple[str, ...] = ()
    """The tasks that it was trained on."""
    home: Path | None = None
    """The folder with its own tasks and prompts; None where it has none."""
    prompts: str = "export"
    """Whose prompts it is asked with: "export", its own; "local", those of the working directory and of mtrl.

    Tasks that it has no prompts for are asked with the local ones.
    """
    files: integrity.Files | None = field(default=None, compare=False)
    """The files of an export, with their recorded hashes."""

    def check(self, tick: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Raises UserError where the judge's files are not those that its identity is of.

        `tick` gets (megabytes read, of all): an export is hashed if its files look different from the last time.
        """
        if self.files:
            self.files.check(tick)
        elif not self.is_named_only and fingerprint(Path(self.checkpoint)) != self.fingerprint:
            raise UserError(f"{self.checkpoint} has been changed since this command began", "start the command again")

    @property
    def is_named_only(self) -> bool:
        """Whether only a name says which judge it is, such as a hub id: other weights may have it later."""
        return self.fingerprint == self.checkpoint

    def task(self, name: str) -> Task:
        """The task as this judge is to be asked it. Raises UserError."""
        return task_files.load(name, self.home if self.prompts == "export" else None)

    def pointwise_of(self, task: Task) -> Task:
        """The pointwise task that decides the pairs of `task`, as this judge is to be asked it. Raises UserError."""
        if not task.of_images:
            raise UserError(
                f"task {task.name} is no pair of images without ties, so answers about single images do not decide it",
                "name other --tasks, or leave out --pairs-from-scores",
            )
        if not task.pointwise:
            raise UserError(
                f"task {task.name} does not say which pointwise task decides its pairs",
                "add pointwise: {task: NAME} to its YAML, or leave out --pairs-from-scores",
            )
        found = self.task(task.pointwise.task)
        if found.kind not in ("pointwise", "score") or found.images != 1:
            raise UserError(
                f"task {task.name}: pointwise.task is {found.name}, of kind {found.kind} with {found.images} images",
                "name a task about one image, of kind pointwise or score",
            )
        return found

    @property
    def default_tasks(self) -> list[str]:
        """What it is scored on without --tasks: Table 2's tasks.

        A judge of a single task, or of tasks that Table 2 does not have: those it was trained on.
        """
        table2, own = table_tasks(2), list(self.trained)
        return own if own and (self.method.endswith("_single") or set(own) - set(table2)) else table2

    def remarks(self, names: Iterable[str]) -> Iterator[str]:
        """Where the tasks and prompts of `names` come from, as far as the user should know; one line each."""
        if not self.run:
            return
        if self.home is None:
            yield (
                f"{self.checkpoint} has no prompts (an older mtrl exported it): the local ones are used, and may differ"
                " from those it was trained with"
            )
            return
        new = []
        for name in names:
            own, here = task_files.load(name, self.home), task_files.local(name)
            if own.home is None:
                new.append(name)
            elif here and (keys := task_files.differing(own, here, self.style)):
                used, other = "the judge's own", "--prompts local uses the local ones"
                if self.prompts == "local":
                    used, other = "the local ones", "--prompts export uses the judge's own"
                verb = "differ" if len(keys) > 1 else "differs"
                yield (
                    f"task {name}: {', '.join(keys)} {verb} here from what the judge was trained with;"
                    f" {used} are used ({other})"
                )
        if new:
            yield f"the judge was not trained on {', '.join(new)}: the local tasks and prompts are used"


def fingerprint(folder: Path) -> str:
    """The identity of local weights.

    Of an export, its mtrl.json with the hashes, which `Subject.check` verifies. Of another folder its config, tensor
    names and shapes, the size and time of its weights, and its small files.
    """
    if (folder / card.FILE).exists():
        return sha256_file(folder / card.FILE)
    parts = [(folder / "config.json").read_text()]
    parts += [f"{name} {file.name} {shape}" for name, (file, shape) in sorted(experts.headers(folder).items())]
    parts += [
        f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in sorted(folder.glob("*.safetensors"))
    ]
    parts += [f"{name} {sha256_file(folder / name)}" for name in model_folder.OTHER_FILES if (folder / name).is_file()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
