"""The files of a run directory that mtrl writes and reads again, as types. Any version of mtrl may have written them.

Times are seconds since 1970, durations are seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mtrl.core.schema import Stored

RECIPE, CONFIG, COMMAND = "recipe.yaml", "upstream.yaml", "command.sh"
ENVIRONMENT, INPUTS = "env.json", "inputs.json"
STATUS, METRICS, SELECTED = "status.json", "metrics.jsonl", "select.json"

State = Literal["planned", "running", "done", "failed", "interrupted"]


class Recorded(Stored):
    """recipe.yaml: the keys that are read of a run of any version. config.recipe_types has all of them."""

    method: str
    tasks: list[str]
    style: str = ""
    model: dict[str, Any] = {}


class Status(Stored):
    """status.json."""

    state: State = "planned"
    """A run that was never started is planned."""
    method: str | None = None
    """The recipe's."""
    data: str | None = None
    """The data folder it was started with, absolute."""
    pid: int | None = None
    """The trainer's, of the latest attempt."""
    attempts: int = 0
    """How often a trainer was started."""
    started: float | None = None
    """When the latest attempt began."""
    spent: float = 0.0
    """Duration of the attempts before the latest."""
    seconds: float | None = None
    """Duration of the latest attempt, or of all where a run was found done."""
    exit_code: int | None = None
    reason: str | None = None
    """Why it failed, was interrupted, or ended early."""
    updated: float = 0.0
    """When this file was written."""


class RowCounts(Stored):
    """What a run draws of one task's training rows, by the rules in their order (backends/row_plan.py)."""

    converted: int
    """All rows of the train split."""
    kept: int
    """Within rl.keep_pass_rate."""
    capped: int
    """After max_rows_per_task."""
    weight: float
    """Of rl.mix."""
    drawn: int
    """Per epoch; a row that is drawn twice counts twice."""
    sha256: str
    """Of the row numbers."""


class TraceCounts(Stored):
    """What a run of sft_traces takes of one task's answers in the sift (backends/traces.py)."""

    rows: int
    """Of its train split, after max_rows_per_task."""
    solved: int
    """Of them with a correct trace."""
    held_out: int
    """Of those held out for validation."""
    traces: int
    """Trained on."""
    verdicts: dict[str, int]
    """{verdict: traces trained on}."""
    dropped: dict[str, int]
    """{why: correct answers that are not trained on}."""


class Traces(Stored):
    """Whose traces a run of sft_traces is trained on, and how many."""

    sift: str
    """The sift's folder, absolute."""
    model: str
    """What was asked there."""
    own: bool
    """Whether that is the model that is trained. If not, this is distillation."""
    max_tokens: int = Field(ge=1)
    """Most tokens of an answer there: what evaluation allows the trained model too."""
    tasks: dict[str, TraceCounts]


class Inputs(Stored):
    """inputs.json: {file that the run was started with: sha256}, its rows and traces. Data files are named relative to
    the data folder."""

    __pydantic_extra__: dict[str, str]
    rows: dict[str, RowCounts] = {}
    """By task; an older mtrl did not record it."""
    traces: Traces | None = None
    """Of sft_traces."""

    @property
    def hashes(self) -> dict[str, str]:
        return self.__pydantic_extra__


class Environment(Stored):
    """env.json: what another person needs to see the same."""

    mtrl: str = ""
    git: str = ""
    """The commit of mtrl's source; "" where it is no checkout."""
    python: str = ""
    platform: str = ""
    gpus: list[str] = []
    """The lines of nvidia-smi -L."""
    interpreter: str = ""
    """The Python that ran the job."""
    packages: dict[str, str | None]
    """{package of that Python: version}, None where it is missing."""
    command: list[str] = []
    environment: dict[str, str] = {}
    """The variables that mtrl set for the job."""


class Selected(Stored):
    """select.json: the score of each step on the validation split, and the step of the best."""

    by: Literal["accuracy", "macro_f1"]
    scores: dict[Annotated[str, Field(pattern=r"^\d{1,18}$")], float]
    best: int

    @model_validator(mode="after")
    def _has_best(self) -> Selected:
        if str(self.best) not in self.scores:
            raise ValueError("best is none of the scored steps")
        return self
