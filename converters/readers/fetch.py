"""Downloads releases from the Hugging Face hub, by recipes/releases.yaml: plan, say, then download.

A plan names the repository, the revision, and every file with its size; nothing outside it is downloaded. Files land
in raw/<release>/ under their names in the repository, where the converters look. Whole files that are there are kept,
and a line that drops is taken up again; but a file whose download was killed starts anew (huggingface_hub keeps no
part of it). RECORD in the same folder says which revision the files are of; where no revision is pinned, it pins the
one that the first download found, so that two revisions never mix.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import model_validator

from mtrl.config.tasks import Task
from mtrl.core import search_path
from mtrl.core.errors import MtrlError, UserError, nearest
from mtrl.core.files import read_json, read_yaml, write_json
from mtrl.core.schema import Model, validate

RECORD = "fetched.json"
HOW_TO_LOG_IN = "`hf auth login`, or HF_TOKEN=<a token from https://huggingface.co/settings/tokens> in the environment"


class Release(Model):
    """One entry of releases.yaml, which says what the keys mean."""

    name: str
    title: str
    terms: str
    page: str = ""
    repository: str = ""
    revision: str | None = None
    gated: bool = False
    files: dict[str, list[str]]
    rows: dict[str, int] = {}
    configs: dict[str, list[str]] = {}
    by_hand: str = ""

    @model_validator(mode="after")
    def _one_source(self) -> Release:
        if bool(self.repository) == bool(self.by_hand):
            raise ValueError("a release has either a repository or steps by_hand")
        return self

    @property
    def web(self) -> str:
        return self.page or f"https://huggingface.co/datasets/{self.repository}"

    def patterns(self, task: Task) -> list[str]:
        """The files that `task` needs. Raises UserError for a config that the release does not have."""
        if not self.configs:
            return self.files[task.name]
        config = str(task.source.get("config", next(iter(self.configs))))
        if config not in self.configs:
            raise UserError(
                f"recipes/tasks/{task.name}.yaml: source.config {config!r} is not a config of {self.title}."
                + nearest(config, self.configs)
            )
        return [*self.files[task.name], *self.configs[config]]


@dataclass(frozen=True)
class Plan:
    """What one download will do: `files` maps names to sizes in bytes, None where the hub does not say."""

    release: Release
    folder: Path
    revision: str
    files: dict[str, int | None]

    @property
    def missing(self) -> dict[str, int | None]:
        """The files that are not there yet, judged by size: the download itself looks closer."""
        there = {name: self.folder / name for name in self.files}
        return {
            name: size
            for name, size in self.files.items()
            if not there[name].is_file() or (size is not None and there[name].stat().st_size != size)
        }


def load() -> list[Release]:
    path = search_path.find("recipes", "releases.yaml", "list of releases")
    return [validate(Release, {"name": name, **entry}, f"{path}, {name}") for name, entry in read_yaml(path).items()]


def published(task: str) -> int | None:
    """The rows that the task's release has by its authors' count; None where no entry says so."""
    return next((release.rows[task] for release in load() if task in release.rows), None)


def releases_of(tasks: list[Task]) -> list[Release]:
    """The releases that the tasks come from, each once, in order. Raises UserError for a task that has none."""
    by_task = {task: release for release in load() for task in release.files}
    for task in tasks:
        if task.name not in by_task:
            raise UserError(
                f"task {task.name} has no entry in recipes/releases.yaml, so there is nothing to download for it",
                f"put the files that recipes/tasks/{task.name}.yaml names (source) below the folder for --raw yourself",
            )
    return list({by_task[task.name].name: by_task[task.name] for task in tasks}.values())


def plan(release: Release, tasks: list[Task], folder: Path) -> Plan:
    """Asks the hub what the files are; downloads nothing. Raises MtrlError or UserError."""
    from huggingface_hub import HfApi

    record = _recorded(folder)
    recorded = record.get("revision") if record.get("repository") == release.repository else None
    revision = release.revision or recorded
    with _plainly(release):
        info = HfApi().dataset_info(release.repository, revision=revision, files_metadata=True, timeout=30)
    sizes = {entry.rfilename: entry.size for entry in info.siblings or []}
    files: dict[str, int | None] = {}
    for task in tasks:
        for pattern in release.patterns(task) if task.name in release.files else []:
            found = sorted(name for name in sizes if fnmatchcase(name, pattern))
            if not found:
                raise MtrlError(
                    f"{release.repository} at {info.sha} has no {pattern}; it has: "
                    + (", ".join(sorted(sizes)[:8]) or "nothing"),
                    f"look at {release.web}; if its layout has changed, name another revision in recipes/releases.yaml",
                )
            files |= {name: sizes[name] for name in found}
    return Plan(release, folder, str(info.sha or revision), files)


def introduce(release: Release) -> Iterator[str]:
    """What it is, its terms, and how to get access, before the hub is asked for anything."""
    yield f"{release.name}: {release.title}, {release.web}" + (", by hand" if release.by_hand else "")
    yield f"  terms: {release.terms}"
    if release.rows:
        yield "  rows: " + ", ".join(f"{task} {number:,}" for task, number in release.rows.items())
    if release.gated:
        yield f"  gated: ask for access on that page with your account, then {HOW_TO_LOG_IN}"


def describe(plan: Plan) -> Iterator[str]:
    """What is about to be downloaded, line by line."""
    release, missing = plan.release, plan.missing
    pinned = "pinned" if release.revision else f"not pinned by us; {plan.folder / RECORD} keeps to it from now on"
    yield f"  revision: {plan.revision} of {release.repository} ({pinned})"
    for name, size in plan.files.items():
        yield f"  {_amount([size]):>9}  {name}{'' if name in missing else '  (there already)'}"
    yield f"  to download: {len(missing)} of {len(plan.files)} files, {_amount(missing.values())}, to {plan.folder}"


def download(plan: Plan) -> None:
    """Downloads what is missing, with hub's own progress bars. Raises MtrlError or UserError."""
    from huggingface_hub import hf_hub_download

    with _plainly(plan.release):
        plan.folder.mkdir(parents=True, exist_ok=True)
        needed, free = sum(size or 0 for size in plan.missing.values()), shutil.disk_usage(plan.folder).free
        if needed > free:
            raise MtrlError(
                f"{plan.release.name} needs {_amount([needed])} more, and {plan.folder} has {_amount([free])} free",
                "make room, or name another folder: --out DIR",
            )
        record = _recorded(plan.folder)
        source = {"repository": plan.release.repository, "revision": plan.revision}
        done = record.get("files", {}) if source.items() <= record.items() else {}
        write_json(plan.folder / RECORD, {**source, "files": done})
        for name, size in plan.files.items():
            hf_hub_download(
                plan.release.repository, name, repo_type="dataset", revision=plan.revision, local_dir=plan.folder
            )
            done[name] = size
            write_json(plan.folder / RECORD, {**source, "files": done})


def _recorded(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    record = read_json(path, f"remove {path}") if path.exists() else {}
    if not isinstance(record, dict):
        raise UserError(f"{path} is not a JSON object", f"remove {path}")
    return record


def _amount(sizes: Any) -> str:
    known = [size for size in sizes if size is not None]
    total = float(sum(known))
    for unit in ("B", "kB", "MB", "GB"):
        if total < 1000 or unit == "GB":
            break
        total /= 1000
    return f"{total:.3g} {unit}" if known or not sizes else "size ?"


@contextlib.contextmanager
def _plainly(release: Release) -> Iterator[None]:
    """What the hub and the network can say, in plain words with the next step."""
    from huggingface_hub import errors

    # The base of all that the hub's HTTP client raises; which client that is, differs by version of huggingface_hub.
    client_error = errors.HfHubHTTPError.__bases__[0]
    again = "run it again: the files that are whole are kept"
    try:
        yield
    except errors.OfflineModeIsEnabled:
        raise UserError("HF_HUB_OFFLINE is set, so nothing can be downloaded", "unset HF_HUB_OFFLINE") from None
    except (errors.RevisionNotFoundError, errors.RemoteEntryNotFoundError) as error:
        raise MtrlError(
            f"{release.repository} no longer has what recipes/releases.yaml names: {_first_line(error)}",
            f"look at {release.web}",
        ) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403, 404):  # the hub says 401 for a repository that is not there, too
            access = f"ask for access on {release.web}, then " if release.gated or status == 403 else ""
            raise UserError(
                f"{release.repository}: the hub refused ({status}): "
                + (
                    "no such dataset"
                    if status == 404
                    else "no token, a wrong one, or one without access to this dataset"
                ),
                f"look at {release.web}" if status == 404 else f"{access}{HOW_TO_LOG_IN}",
            ) from None
        raise MtrlError(f"{release.repository}: the hub answered {status}: {_first_line(error)}", again) from None
    except (errors.LocalEntryNotFoundError, client_error, ConnectionError, TimeoutError) as error:
        raise MtrlError(
            f"{release.repository}: the connection to the hub failed: {_first_line(error)}",
            f"check the network, HF_ENDPOINT and HTTPS_PROXY, and run it again: the files that are whole are kept; "
            f"or put the files that recipes/releases.yaml names into the folder {release.name}/ below --out by hand",
        ) from None
    except OSError as error:
        full = error.errno == errno.ENOSPC
        raise MtrlError(
            f"{release.name}: writing the download failed: {error.strerror or error}",
            f"make room; {again}" if full else again,
        ) from None
    except Exception as error:
        if type(error).__module__ != errors.__name__:
            raise
        raise MtrlError(f"{release.repository}: the download failed: {_first_line(error)}", again) from None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
