"""`mtrl check` of one converted task: are the files whole, do they agree, and what do the splits share?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from mtrl.config import datacard, prompting, samples
from mtrl.config.datacard import DataCard
from mtrl.config.tasks import SPLITS, Task
from mtrl.converters.checks.table1 import compare
from mtrl.converters.pipeline import counts as findings
from mtrl.converters.pipeline import exports, images, unchanged
from mtrl.converters.readers.picture import Rejected, contents
from mtrl.core.errors import UserError
from mtrl.core.files import LARGE, read_json, sha256_bytes, sha256_file
from mtrl.core.finding import Check


def examine(task: Task, data: Path, table1: bool = False) -> Iterator[Check]:
    """All checks of one converted task. What is wrong is a Check, not an exception."""
    again = datacard.convert_again(task.name, data)
    card_file = datacard.path_of(data, task.name)
    if not card_file.exists():
        yield Check("error", f"{task.name} is not converted ({card_file} is missing)", again)
        return
    try:
        card = datacard.read(data, task.name)
    except UserError as error:
        yield Check("error", str(error), error.then)
        return
    if not card.release_counts:
        yield Check("error", f"{task.name} was converted by an earlier mtrl", again)
        return
    written = unchanged.written(data, task.name)
    if written is None:
        yield Check("error", f"{task.name}: its conversion did not end, or was by an earlier mtrl", again)
        return
    changed = _changed(data, written)
    for name in changed:
        yield Check("error", f"{task.name}: {data / name} has changed since it was converted", again)
    if any("/samples_" in name for name in changed):
        return  # the other checks read these
    try:
        for style in prompting.STYLES:
            if card.prompts.get(style) != prompting.sha256(task, style):
                yield Check("error", f"{task.name}: its {style} prompt has changed since it was converted", again)
        yield from findings.fields(task, data)
    except UserError as error:  # a prompt that nothing could be asked with
        yield Check("error", str(error), error.then)
    if card.orient != task.orient:
        yield Check("error", f"{task.name}: its key orient has changed since it was converted", again)
    for split in SPLITS:
        yield from _split(task, data, split, card, again)
    yield from findings.of_card(task.name, card)
    for kind, shared in card.leakage.items():
        if found := [f"{number} {pair.replace('_', ' ')}" for pair, number in shared.items() if number]:
            grouped = again + " --protocol grouped"
            yield Check("warning", f"{task.name}: the same {kind} in two splits: {', '.join(found)}", grouped)
    for reason, number in card.rejects.items():
        yield Check("warning", f"{task.name}: {number} rows rejected: {reason}")
    if card.duplicates:
        yield Check(
            "warning", f"{task.name}: {card.duplicates} rows ask what an earlier row asks (source.duplicate_of)"
        )
    for note, number in card.images.notes.items():
        if note == images.ROTATED:
            yield Check("warning", f"{task.name}: {number} images: {note}", images.upright(task.name))
        else:
            yield Check("ok", f"{task.name}: {number} images: {note}")
    if table1:
        yield from compare(task, card)


def altered(data: Path, task: str, names: Iterable[str], again: str) -> Iterator[Check]:
    """Errors and warnings for files that a run reads and the conversion did not write so. Cheap, see unchanged.py.

    A missing file or a changed image is an error; another file may be edited by hand: a warning.
    """
    found = list(unchanged.altered(data, task, names))
    gone = {name for name in found if not (data / name).exists()}
    for some, what in ((gone, "missing"), (set(found) - gone, "not what the conversion wrote")):
        if stored := sorted(name for name in some if name.startswith("images/")):
            yield Check(
                "error", f"task {task}: {len(stored)} stored images are {what}, the first is {stored[0]}", again
            )
        for name in sorted(some.difference(stored)):
            yield Check("error" if name in gone else "warning", f"task {task}: {data / name} is {what}", again)


def _changed(data: Path, written: dict[str, str]) -> list[str]:
    """The files that are not what the conversion wrote."""
    found = []
    for name, digest in written.items():
        try:
            same = sha256_file(data / name) == digest
        except OSError:
            same = False
        found += [] if same else [name]
    return found


def _split(task: Task, data: Path, split: str, card: DataCard, again: str) -> Iterator[Check]:
    import pyarrow.parquet as pq

    folder, expected = data / task.name, sum(card.counts[split].values())
    gone, bad = [], []
    names: set[str] = set()
    for sample in samples.read(data, task.name, split):
        names.update(sample.images)
    for name in sorted(names):
        try:
            content = contents(data / name)
            images.check(content)
            if sha256_bytes(content) != Path(name).stem:
                bad.append(f"{name} (changed since it was converted)")
        except OSError:
            gone.append(name)
        except Rejected as reason:
            bad.append(f"{name} ({reason})")
    for what, found in (("missing", gone), ("broken", bad)):
        if found:
            yield Check("error", f"{task.name}/{split}: {len(found)} images are {what}, the first is {found[0]}", again)
    try:
        rows = {
            "samples": samples.count(data, task.name, split),
            "sft": len(read_json(folder / exports.SFT.format(split), limit=LARGE)),
            "rl": pq.read_metadata(folder / exports.RL.format(split)).num_rows,
        }
    except (OSError, ValueError) as error:
        yield Check("error", f"{task.name}/{split}: {error}", again)
        return
    if set(rows.values()) != {expected}:
        yield Check("error", f"{task.name}/{split}: card.json has {expected} rows, the files have {rows}", again)
    else:
        yield Check("ok", f"{task.name}/{split}: {expected:,} rows, {len(names):,} images")
