"""The conversion as a whole: the same bytes every time, also after a kill; unchanged input; full disks; what tasks
share.
"""

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

from mtrl.cli import main
from mtrl.config import tasks
from mtrl.config.tasks import Task
from mtrl.converters.checks import overlap
from mtrl.converters.checks.converted import altered, examine
from mtrl.converters.pipeline import convert as conversion
from mtrl.converters.pipeline.images import load_rgb
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.files import read_json
from mtrl.demo import releases
from mtrl.evaluate.requests import build
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
        assert not [check for check in found if check.level == "error"]


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
    assert not converts()  # tables are compared by content
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


@pytest.mark.parametrize("target", ["images", "sft_train.json", "rl_train.parquet", "card.json"])
def test_a_failed_conversion_leaves_the_one_before_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    task, raw, data = small(tmp_path), tmp_path / "raw", tmp_path / "data"
    run(task, raw, data)
    before, replace = hashes(data), os.replace
    (raw / "3.bmp").write_bytes(releases.encoded(releases.blocks(1)(9), "BMP"))

    def full(source: Path, to: Path) -> None:
        if target in str(to):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, to)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(MtrlError, match="No space left on device"):
            run(task, raw, data)
    after = hashes(data)
    assert {name: after[name] for name in before} == before and not list(data.rglob(".new"))
    assert not [check for check in examine(task, data) if check.level == "error"]
    assert "unchanged" not in run(task, raw, data)[0]


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


def same_times(file: Path, change: Callable[[], object]) -> None:
    """Changes a file, and sets its time back."""
    before = file.stat()
    change()
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size and file.stat().st_mtime_ns == before.st_mtime_ns


def small(tmp_path: Path, number: int = 4, **changes: object) -> Task:
    """A task over `number` PNGs of equal size in tmp_path/raw, all rows in train unless `changes` say otherwise."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for n in range(number):
        (raw / f"{n}.bmp").write_bytes(releases.encoded(releases.blocks(1)(n), "BMP"))
    records = [{"image": f"{n}.bmp", "label": n % 2} for n in range(number)]
    return table_task(raw, records, **{"split": {"parts": {"train": 1.0}}, **changes})


def test_a_table_changed_within_its_size_and_time_is_noticed(tmp_path: Path) -> None:
    task, table = small(tmp_path), tmp_path / "raw/labels.jsonl"
    _, before = run(task, tmp_path / "raw", tmp_path / "data")
    same_times(table, lambda: table.write_text(table.read_text().replace('"label": 0', '"label": 1')))
    card, after = run(task, tmp_path / "raw", tmp_path / "data")
    assert "unchanged" not in card and [row.answer for row in after["train"]] == ["yes"] * 4
    assert [row.answer for row in before["train"]] == ["no", "yes"] * 2


def test_an_edit_of_the_release_does_not_reach_the_store(tmp_path: Path) -> None:
    task, raw, data = small(tmp_path), tmp_path / "raw", tmp_path / "data"
    _, rows = run(task, raw, data)
    before = {name: content for name, content in hashes(data).items() if name.startswith("images/")}
    with (raw / "0.bmp").open("r+b") as file:
        file.seek(100)
        file.write(b"edited")
    assert {name: content for name, content in hashes(data).items() if name.startswith("images/")} == before
    assert not [check for check in examine(task, data) if check.level == "error"]
    card, again = run(task, raw, data)
    assert "unchanged" not in card and again["train"][0].images != rows["train"][0].images


def test_hard_links_are_made_on_request_only_and_taken_back(tmp_path: Path) -> None:
    task, raw, data = small(tmp_path), tmp_path / "raw", tmp_path / "data"

    def links(**options: bool) -> set[int]:
        _, rows = run(task, raw, data, **options)
        return {(data / row.images[0]).stat().st_nlink for row in rows["train"]}

    assert links(links=True) == {2}
    assert links() == {1} and links() == {1}
    with (raw / "0.bmp").open("r+b") as file:
        file.write(b"BM")
    assert not [check for check in examine(task, data) if check.level == "error"]


def overwritten(data: Path, names: list[str]) -> None:
    (data / names[0]).write_bytes((data / names[1]).read_bytes())


def swapped(data: Path, names: list[str]) -> None:
    one, two = data / names[0], data / names[1]
    one.rename(data / "x")
    two.rename(one)
    (data / "x").rename(two)


def linked(data: Path, names: list[str]) -> None:
    (data / names[0]).unlink()
    (data / names[0]).symlink_to((data / names[1]).resolve())


@pytest.mark.parametrize("change", [overwritten, swapped, linked])
def test_changed_images_are_found_and_mended(tmp_path: Path, change: Callable[[Path, list[str]], None]) -> None:
    """By check, by plan's look, before an evaluation asks, and when an image is loaded; converting again mends them."""
    task, raw, data = small(tmp_path, split={"parts": {"test": 1.0}}), tmp_path / "raw", tmp_path / "data"
    _, rows = run(task, raw, data)
    before, names = hashes(data), [row.images[0] for row in rows["test"]]
    change(data, names)
    found = [check for check in examine(task, data) if check.level == "error"]
    assert len(found) == 1 and "images are broken" in found[0].text and "changed since" in found[0].text
    assert "stored images are not what the conversion wrote" in next(altered(data, task.name, names, "")).text
    with pytest.raises(UserError, match="has changed since it was converted"):
        list(build(task, "sft", data, "test"))
    with pytest.raises(MtrlError, match="has changed since it was converted"):
        load_rgb(data / names[0])
    assert "unchanged" not in run(task, raw, data)[0]
    assert hashes(data) == before and not (data / names[0]).is_symlink()
    assert not [check for check in examine(task, data) if check.level == "error"]
    assert len(list(build(task, "sft", data, "test"))) == 4


@pytest.mark.parametrize("name", ["samples_train.parquet", "sft_train.json", "rl_train.parquet", "fingerprints.json"])
def test_changed_files_are_found_and_mended(tmp_path: Path, name: str) -> None:
    """Within their size: other bytes of an image inside the RL parquet, another answer in the SFT JSON."""
    task, raw, data = small(tmp_path), tmp_path / "raw", tmp_path / "data"
    run(task, raw, data)
    before, file = hashes(data), data / task.name / name
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    same_times(file, lambda: file.write_bytes(content))
    assert [check.text for check in examine(task, data) if check.level == "error"] == [
        f"unsafebench: {file} has changed since it was converted"
    ]
    assert "unchanged" not in run(task, raw, data)[0]
    assert hashes(data) == before


def test_a_conversion_killed_before_its_last_file_is_said(tmp_path: Path) -> None:
    task = small(tmp_path)
    run(task, tmp_path / "raw", tmp_path / "data")
    (tmp_path / "data/unsafebench/inputs.json").unlink()
    assert [check.text for check in examine(task, tmp_path / "data") if check.level == "error"] == [
        "unsafebench: its conversion did not end, or was by an earlier mtrl"
    ]


def test_what_is_no_regular_file_is_rejected_and_never_waited_for(tmp_path: Path) -> None:
    """Named pipes, devices and folders as images: in the release, and later in the store's place."""
    task, raw, data = small(tmp_path, 6), tmp_path / "raw", tmp_path / "data"
    (raw / "0.bmp").unlink()
    os.mkfifo(raw / "0.bmp")
    (raw / "1.bmp").unlink()
    (raw / "1.bmp").symlink_to("/dev/zero")
    (raw / "2.bmp").unlink()
    (raw / "2.bmp").mkdir()
    card, rows = run(task, raw, data)
    assert card["rejects"] == {"not a regular file": 3} and len(rows["train"]) == 3
    stored = data / rows["train"][0].images[0]
    stored.unlink()
    os.mkfifo(stored)
    assert any("not a regular file" in check.text for check in examine(task, data) if check.level == "error")
    with pytest.raises(OSError, match="not a regular file"):
        load_rgb(stored)
    run(task, raw, data)
    assert stored.is_file()


@pytest.mark.parametrize(
    ("name", "words"), [("a\0b.png", "'a\\\\x00b.png' is not a file name"), ("x" * 300, "1 of 1 images")]
)
def test_names_that_no_file_can_have(tmp_path: Path, name: str, words: str) -> None:
    task = table_task(tmp_path / "raw", [{"image": name, "label": 0}])
    with pytest.raises(UserError, match=words):
        run(task, tmp_path / "raw", tmp_path / "data")


def test_all_is_what_is_there_and_the_rest_is_named(tmp_path: Path, cli) -> None:  # type: ignore[no-untyped-def]
    raw, data = tmp_path / "raw", tmp_path / "data"
    releases.mjbench(raw, "safety")
    releases.unsafebench(raw)
    found = cli("convert", "all", "--raw", raw, "--out", data)
    said = " ".join(found.out.split())
    assert found.code == 2 and "no data/alignment.parquet in" in found.err  # a release that is there must be whole
    for subset in ("alignment", "quality"):
        releases.mjbench(raw, subset)
    found = cli("convert", "all", "--raw", raw, "--out", data)
    said = " ".join(found.out.split())
    assert found.code == 0 and "not converted, since" in said and "agin_nat, agin_rat, agin_tech" in said
    assert {file.parent.name for file in data.glob("*/card.json")} == {
        *("mjbench_alignment", "mjbench_quality", "mjbench_safety", "unsafebench")
    }
    found = cli("check", "all", "--data", data)
    assert found.code == 0 and "not converted, and so not checked: agin_nat" in " ".join(found.out.split())
    found = cli("check", "all", "--table1", "--data", data)
    assert found.code == 1 and "agin_nat is not converted" in found.out  # Table 1 is of all its tasks
    assert cli("check", "agin_nat", "--data", data).code == 1
    (tmp_path / "empty").mkdir()
    found = cli("convert", "all", "--raw", tmp_path / "empty", "--out", tmp_path / "other")
    assert found.code == 2 and "no MOS_AGIN.csv in" in found.err
    found = cli("check", "all", "--data", tmp_path / "other")
    assert found.code == 2 and "no task is converted in" in found.err
