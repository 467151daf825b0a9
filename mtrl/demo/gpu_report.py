"""What a GPU check found: gpu-check.json, which a later call continues, and the same as a Markdown table."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from mtrl.core import schema
from mtrl.core.errors import UserError
from mtrl.core.files import write_json, write_text
from mtrl.core.schema import Stored

JSON, TABLE = "gpu-check.json", "gpu-check.md"
NOT_CHECKED: Final = "not checked"
Versions = dict[str, dict[str, str | None]]  # {environment: {package: version}}
State = Literal["done", "failed", "not checked"]
Form = Literal["gpu", "lite", "cpu"]
FORMS = {
    "gpu": "every trainer that is installed",
    "lite": "LITE: no vLLM, DeepSpeed, EasyR1 or verl",
    "cpu": "on a CPU, with a small model: no GPU was used",
}
COLUMNS = ("step", "result", "s per step", "mtrl plan", "plan / measured", "peak GB", "mtrl plan", "plan / measured")


class Figures(Stored):
    """Of one training; None where it is not known."""

    step: float | None = None
    """Seconds of one update (SFT) or rollout with its update (RL)."""
    memory: float | None = None
    """GB of one GPU; on a CPU, of host memory."""


class Found(Stored):
    """One step of the check."""

    name: str
    state: State
    note: str = ""
    """Why it failed or was not checked; else what it found."""
    seconds: float = 0
    """How long it took."""
    date: str = ""
    log: str = ""
    """The file with the output of its commands, relative to the folder of the check."""
    measured: Figures = Figures()
    planned: Figures = Figures()


class Report(Stored):
    """gpu-check.json. `gpus` are their names."""

    form: Form
    gpus: list[str]
    versions: Versions = {}
    found: list[Found] = []

    @property
    def failed(self) -> list[Found]:
        return [found for found in self.found if found.state == "failed"]

    def of(self, name: str) -> Found | None:
        return next((found for found in self.found if found.name == name), None)


def load(folder: Path, form: Form, gpus: list[str], versions: Versions) -> Report:
    """The report so far, or a new one. Raises UserError if it is of another machine, or of other versions."""
    file = folder.resolve() / JSON
    if not file.exists():
        return Report(form=form, gpus=gpus, versions=versions)
    again = f"pass another --out, or remove {file.parent}"
    report = schema.read(Report, file, again)
    if (report.form, report.gpus) != (form, gpus):
        text = f"{file} is of another check: {FORMS[report.form]}, on {', '.join(report.gpus) or 'no GPU'}"
        raise UserError(text, again)
    for name, packages in report.versions.items():
        for package, before in packages.items():
            now = versions.get(name, {}).get(package)
            if before and before != now:  # what is installed in addition is checked in addition
                raise UserError(f"{file} is of {package} {before} in {name}, which now has {now or 'none'}", again)
    return report.model_copy(update={"versions": versions})


def save(folder: Path, report: Report) -> None:
    """Writes both files."""
    write_json(folder / JSON, report.model_dump(mode="json"))
    write_text(folder / TABLE, markdown(report))


def markdown(report: Report) -> str:
    """The table, with the date, the machine and the versions above it, and what was not checked below it."""
    dates = sorted({found.date for found in report.found if found.date})
    lines = [
        f"make gpu-check, {FORMS[report.form]}. {' to '.join(dict.fromkeys([*dates[:1], *dates[-1:]])) or 'No date'}.",
        f"GPUs: {', '.join(report.gpus) or 'none'}.",
        *(f"{name}: {_listed(packages)}." for name, packages in report.versions.items()),
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
        *(f"| {' | '.join(_row(found))} |" for found in report.found if found.state != NOT_CHECKED),
    ]
    if left := [found for found in report.found if found.state == NOT_CHECKED]:
        lines += ["", "Not checked:", "", *(f"- {found.name}: {found.note}" for found in left)]
    return "\n".join(lines) + "\n"


def _listed(packages: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {version}" for name, version in packages.items() if version) or "not installed"


def _row(found: Found) -> list[str]:
    said = f"{found.state} in {found.seconds:.0f} s" + (f": {found.note}" if found.note else "")
    if found.state == "failed":
        said += f" ({found.log})"
    cells = [found.name, said.replace("|", "\\|").replace("\n", " ")]
    for measured, planned in (
        (found.measured.step, found.planned.step),
        (found.measured.memory, found.planned.memory),
    ):
        ratio = f"{planned / measured:.2f}" if planned and measured else ""
        cells += [*(f"{value:.2f}" if value else "" for value in (measured, planned)), ratio]
    return cells
