"""The conversion as a whole: the same bytes every time, also after a kill; unchanged input; full disks; what tasks share."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mtrl import tasks
from mtrl.cli import main
from mtrl.converters import convert as conversion
from mtrl.converters import overlap
from mtrl.converters.check import examine
from mtrl.converters.images import load_rgb
from mtrl.demo import releases
from mtrl.errors import MtrlError, UserError
from mtrl.files import read_json
from mtrl.tasks import Task
from tests.unit.releases_fixture import hashes, mos, run, table_task

ALL = ["seetrue", "imagereward", "unsafebench", "mjbench_alignment", "mjbench_safety", "mjbench_quality"]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    releases.everything(folder)
    return folder


def every(raw: Path, data: Path, protocol: str) -> None:
    for task in [*map(tasks.load, ALL), mos("agin_nat", "<= 50"), mos("agin_rat", "<= 50")]:
        run(task, raw, data, protocol=protocol)


@pytest.mark.parametrize("protocol", ["paper", "grouped"])
def test_two_conversions_are_the_same_bytes(raw: Path, tmp_path: Path, protocol: str) -> None:
    every(raw, tmp_path / "one", protocol)
    every(raw, tmp_path / "two", protocol)
    one = hashes(tmp_path / "one")
    assert one == hashes(tmp_path / "two")
    assert len(one) > 300
    for task in map(tasks.load, ALL):
        found = list(examine(task, tmp_path / "one"))
        assert not [check for check in found if check.level == "stop"]


def test_unchanged_input_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = releases.imagereward(tmp_path / "raw")
    task, data = tasks.load("imagereward"), tmp_path / "data"
    first, _ = run(task, tmp_path / "raw", data)
    before = hashes(data)
    assert "unchanged" not in first
    with monkeypatch.context() as patched:
        patched.setattr(conversion, "_write", lambda *_: pytest.fail("converted again"))
        again, _ = run(task, tmp_path / "raw", data)
    assert again == {**first, "unchanged": True}

    def converts(**options: object) -> bool:
        return "unchanged" not in run(task, tmp_path / "raw", data, **options)[0]

    assert converts(protocol="grouped") and converts() and converts(limit=2) and converts()
    os.utime(folder / "metadata-test.parquet")
    assert converts() and not converts()
    next((data / "images").rglob("*.webp")).unlink()
    assert converts() and not converts()
    (data / task.name / "rl_test.parquet").write_bytes(b"")
    assert converts()
    # what a changed time changes in inputs.json is no difference in what was made
    assert {k: v for k, v in hashes(data).items() if not k.endswith("inputs.json")} == {
        k: v for k, v in before.items() if not k.endswith("inputs.json")
    }


def test_data_inside_the_release_folder_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(releases.encoded(releases.blocks(1)(0), "PNG"))
    task = table_task(tmp_path, [{"image": "a.png", "label": 0}])
    assert "unchanged" not in run(task, tmp_path, tmp_path / "data")[0]
    assert "unchanged" in run(task, tmp_path, tmp_path / "data")[0]


def test_a_new_shard_is_noticed(tmp_path: Path) -> None:
    folder = releases.unsafebench(tmp_path / "raw", shards=1)
    first, _ = run(tasks.load("unsafebench"), tmp_path / "raw", tmp_path / "data")
    shutil.copy(folder / "data/train-00000-of-00001.parquet", folder / "data/train-extra.parquet")
    second, _ = run(tasks.load("unsafebench"), tmp_path / "raw", tmp_path / "data")
    assert second["rows_in_release"] == first["rows_in_release"] + 50


@pytest.mark.parametrize(
    "target", ["images", "samples_train.parquet", "sft_train.json", "rl_test.parquet", "card.json"]
)
def test_a_full_disk_is_said_and_leaves_nothing_half(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    replace = os.replace

    def full(source: Path, to: Path) -> None:
        if target in str(to):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, to)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(MtrlError, match="No space left on device") as error:
            run(tasks.load("seetrue"), raw, tmp_path / "data")
    assert error.value.exit_code == 1 and "make room" in error.value.then
    assert not list((tmp_path / "data").rglob(".*.tmp"))
    assert not (tmp_path / "data/seetrue/card.json").exists()
    run(tasks.load("seetrue"), raw, tmp_path / "data")


def start(raw: Path, data: Path, *more: str, limit: int | None = None) -> subprocess.Popen[str]:
    """`mtrl convert` of two tasks as a process of its own; `limit`: the largest file it may write."""
    command = [
        sys.executable,
        "-m",
        "mtrl",
        "convert",
        "imagereward",
        "unsafebench",
        "--raw",
        str(raw),
        "--out",
        str(data),
    ]
    before: Callable[[], None] | None = None
    if limit is not None:
        before = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # noqa: E731
    return subprocess.Popen(
        [*command, *more], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=before
    )


def test_a_file_that_cannot_grow(raw: Path, tmp_path: Path) -> None:
    process = start(raw, tmp_path / "data", limit=60_000)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "writing to" in said and "Traceback" not in said
    assert not list((tmp_path / "data").rglob(".*.tmp"))


def killed_then_finished(raw: Path, data: Path, delays: list[float]) -> None:
    for delay in delays:
        process = start(raw, data)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    assert start(raw, data).wait(timeout=60) == 0


def test_killed_once_and_run_again(raw: Path, tmp_path: Path) -> None:
    assert start(raw, tmp_path / "whole").wait(timeout=60) == 0
    (tmp_path / "data/imagereward").mkdir(parents=True)
    (tmp_path / "data/imagereward/.card.json.4194305-1.tmp").write_text("half")  # no process has so high an id
    killed_then_finished(raw, tmp_path / "data", [0.7])
    assert hashes(tmp_path / "data") == hashes(tmp_path / "whole")


@pytest.mark.long
def test_killed_at_many_points(raw: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    assert start(raw, tmp_path / "whole").wait(timeout=60) == 0
    took, rng = time.monotonic() - began, random.Random(0)
    for attempt in range(12):
        data = tmp_path / f"data{attempt}"
        killed_then_finished(raw, data, [took * rng.random() for _ in range(1 + attempt % 3)])
        assert hashes(data) == hashes(tmp_path / "whole")


def test_overlap_between_tasks(tmp_path: Path) -> None:
    """MJ-Bench's images that stand in ImageReward's train and test splits are told, exact and nearly."""
    draw = releases.blocks(3)
    releases.imagereward(tmp_path / "raw", make=draw)
    card, rows = run(tasks.load("imagereward"), tmp_path / "raw", tmp_path / "data")
    assert [check.level for check in overlap.report(tmp_path / "data")] == ["ok"]
    held = {split: [tmp_path / "data" / row.images[0] for row in rows[split]] for split in ("train", "test")}
    task = table_task(tmp_path / "raw/own", [{"image": "a.webp", "label": 0}, {"image": "b.png", "label": 1},
                                             {"image": "c.webp", "label": 1}],
                      source={"folder": "own", "file": "labels.jsonl"}, split={"parts": {"test": 1.0}})  # fmt: skip
    shutil.copy(held["train"][0], tmp_path / "raw/own/a.webp")
    shutil.copy(held["test"][0], tmp_path / "raw/own/c.webp")
    load_rgb(held["train"][1]).resize((72, 72)).save(tmp_path / "raw/own/b.png")
    run(task, tmp_path / "raw", tmp_path / "data")
    said = [check.text for check in overlap.report(tmp_path / "data") if check.level == "warning"]
    assert said == [  # one line for the pair
        "imagereward/train and unsafebench/test share 1 images, 1 near-duplicate images; "
        "imagereward/test and unsafebench/test share 1 images (not independent measurements)",
    ]
    assert [c.text for c in overlap.report(tmp_path / "data", ["unsafebench"]) if c.level == "warning"] == said
    assert list(overlap.report(tmp_path / "data", ["seetrue"])) == []  # the others were not asked about
    assert sum(card["counts"]["test"].values()) == len(rows["test"])


def test_row_groups_are_bounded_by_bytes(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for number in range(5):
        (raw / f"{number}.bmp").write_bytes(releases.encoded(releases.blocks(1, 2048)(number), "BMP"))  # 12 MB each
    records = [{"image": f"{number % 5}.bmp", "label": 0} for number in range(10)]
    run(table_task(raw, records, split={"parts": {"train": 1.0}}), raw, tmp_path / "data")
    about = pq.read_metadata(tmp_path / "data/unsafebench/rl_train.parquet")
    assert [about.row_group(n).num_rows for n in range(about.num_row_groups)] == [3, 3, 3, 1]


def test_the_command_line(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def mtrl(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        code = stop.value.code
        return (code if isinstance(code, int) else 0), out, err

    data = tmp_path / "data"
    code, out, _ = mtrl("convert", "unsafebench", "seetrue", "--raw", raw, "--out", data, "--protocol", "grouped")
    assert code == 0 and "7,298 (2,954 yes)" in out
    assert read_json(data / "seetrue/card.json")["protocol"] == "grouped"
    code, out, err = mtrl("check", "unsafebench", "--table1", "--data", data)
    assert code == 1 and "unsafebench/all: 62 rows, Table 1 has 10,146" in out and "Traceback" not in err
    code, out, err = mtrl("fit-labels", "seetrue", "--raw", raw)
    assert code == 1 and "no single rule over label" in err
    code, out, err = mtrl("fit-labels", "mjbench_safety", "--raw", raw)
    assert code == 2
    code, out, err = mtrl("convert", "agin_nat", "--raw", tmp_path, "--out", data)
    assert code == 2 and "no MOS_AGIN.csv in" in err and "data/" in err
    code, out, err = mtrl("convert", "unsafebench", "--raw", raw, "--out", data, "--protocol", "other")
    assert code == 2


def test_a_release_whose_every_image_is_bad(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a.png").write_bytes(b"")
    with pytest.raises(MtrlError, match="every one of 2 rows is rejected: empty file"):
        run(table_task(raw, [{"image": "a.png", "label": 0}, {"image": "a.png", "label": 1}]), raw, tmp_path / "data")
    with pytest.raises(UserError, match="has no rows"):
        run(table_task(raw, []), raw, tmp_path / "data")


def test_a_task_needs_a_converter_that_is_there(tmp_path: Path) -> None:
    task: Task = table_task(tmp_path, [], converter="nosuch")
    with pytest.raises(UserError, match="there is no converter 'nosuch'"):
        run(task, tmp_path, tmp_path / "data")


def test_own_tasks_have_no_column_of_the_papers_counts(project: Path, cli) -> None:
    done = cli("convert", "demo_safety", "--raw", "raw", "--out", "data")
    assert done.code == 0 and "demo_safety" in done.out and "Table 1" not in done.out, done.out
    done = cli("convert", "demo_safety", "unsafebench", "--raw", "raw", "--out", "data")
    assert done.code == 0 and "Table 1" in done.out and "7,298 (2,954 yes)" in done.out, done.out
