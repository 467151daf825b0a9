"""The interface of a backend: how one upstream trainer is configured, started, watched, resumed and exported from.

A backend renders a recipe to ONE configuration file, ONE command line and ONE environment. To add one: a class with
every member of `Backend` in TOOL_METHOD.py, an instance of it in registry.py, and recipes/templates/NAME.yaml.j2.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mtrl.config.recipe_types import Recipe
from mtrl.core.rundir import Run


@dataclass(frozen=True)
class Job:
    """`command` runs in the run directory with `env` added to the environment."""

    command: list[str]
    env: dict[str, str]


@runtime_checkable
class Backend(Protocol):
    """One upstream trainer. It holds no state: what is known of a run is in the run directory."""

    name: str
    """The trainer as recipes name it (`Recipe.trainer`), and the name of its template."""
    environment: str
    """The environment (mtrl.backends.envs) that it runs in."""
    limit: str
    """The key of its configuration for how many checkpoints are kept."""
    packages: tuple[str, ...]
    """The packages whose versions are recorded in env.json; the trainer's own is the first."""

    def data_files(self, recipe: Recipe, data: Path) -> list[Path]:
        """The converted files that it trains on. A run does not resume if one of them changed."""
        ...

    def link_inputs(self, recipe: Recipe, run: Run, data: Path) -> None:
        """Writes or links into `run.inputs` what the trainer reads. `data` is absolute."""
        ...

    def config(self, recipe: Recipe, run: Run, data: Path) -> str:
        """The text of upstream.yaml, the same before and after `link_inputs`. Needs nothing of upstream installed.

        Raises UserError, for example if the devices cannot share a batch.
        """
        ...

    def job(self, recipe: Recipe, run: Run) -> Job:
        """What is run, once `config` is in upstream.yaml. Raises UserError if the environment is not built."""
        ...

    def begin(self, run: Run) -> None:
        """Prepares the run directory before each start, the first and each resume. Raises UserError."""
        ...

    def metrics(self, run: Run) -> list[dict[str, Any]]:
        """One row per logged step, in order: `step` and what else is logged (`loss`, `reward`, ...)."""
        ...

    def plateaued(self, recipe: Recipe, rows: list[dict[str, Any]]) -> str:
        """Why mtrl should end a run with these metrics; "" if it should go on, or if the trainer stops by itself."""
        ...

    def ended(self, recipe: Recipe, run: Run) -> str:
        """Why no step is left, "" if one is. A trainer that is started on its last checkpoint would go past the end."""
        ...

    def finished(self, run: Run) -> bool:
        """Whether a job that ended with exit status 0 left a model."""
        ...

    def merged(self, checkpoint: Path, recipe: Recipe, scratch: Path) -> AbstractContextManager[Path]:
        """A checkpoint as a Hugging Face folder. What has to be made for it is in `scratch`, and removed at the end.

        Raises MtrlError with the last line of upstream's merger, and UserError where its environment is not built.
        """
        ...
