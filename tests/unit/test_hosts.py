"""Several writers of one data folder: on one host, in containers (process-id namespaces of their own), without file
locks.
"""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mtrl.config import tasks
from mtrl.converters.checks.converted import examine
from mtrl.converters.pipeline import convert as conversion
from mtrl.core import locks
from mtrl.core.errors import UserError
from mtrl.core.files import read_json, sweep, written
from mtrl.core.rundir import Run
from mtrl.demo import releases
from mtrl.evaluate.identity import AskedWith, Identity
from mtrl.evaluate.recording import Recording
from tests.unit.releases_fixture import hashes, run

IDENTITY = Identity(path="m", method="zero_shot", style="sft", sampling=AskedWith(votes=1), tasks={})

GROUPS = (["imagereward"], ["unsafebench", "seetrue"], ["mjbench_alignment", "mjbench_safety"], ["mjbench_quality"])


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    releases.everything(folder)
    return folder


@pytest.fixture(scope="module")
def alone(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one conversion after the other makes."""
    data = tmp_path_factory.mktemp("alone")
    for group in GROUPS:
        assert started([], raw, data, *group).wait(timeout=120) == 0
    return hashes(data)


@pytest.fixture(scope="module")
def container() -> list[str]:
    """A command's beginning that runs it in a process-id namespace of its own, as a container does."""
    for command in (["unshare", "--pid", "--fork"], ["unshare", "--map-root-user", "--pid", "--fork"]):
        try:
            if subprocess.run([*command, "true"], capture_output=True, timeout=20).returncode == 0:
                return command
        except OSError:
            break
    pytest.skip("unshare --pid is not permitted here")


def started(before: list[str], raw: Path, data: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-m", "mtrl", "convert", *map(str, arguments), "--raw", raw, "--out", data]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def at_once(container: list[str], raw: Path, data: Path, groups: tuple[list[str], ...]) -> list[str]:
    # each container has started other processes before, so what is 12 in one is 22 in another
    shell = ["bash", "-c", 'for _ in $(seq $0); do /bin/true; done; "$@"; exit $?']
    begin = [[*container, *shell, str(10 * number)] for number in range(len(groups))]
    processes = [started(before, raw, data, *group) for before, group in zip(begin, groups, strict=True)]
    said = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(groups), said
    return said


@pytest.mark.parametrize("tries", [1, pytest.param(8, marks=pytest.mark.long)])
def test_different_tasks_from_several_containers(
    container: list[str], raw: Path, tmp_path_factory: pytest.TempPathFactory, alone: dict[str, str], tries: int
) -> None:
    for _ in range(tries):
        data = tmp_path_factory.mktemp("together")  # next to `alone`: inputs.json says where the release is from here
        at_once(container, raw, data, GROUPS)
        assert hashes(data) == alone


@pytest.mark.parametrize("tries", [1, pytest.param(8, marks=pytest.mark.long)])
def test_one_task_with_and_without_a_limit(container: list[str], raw: Path, tmp_path: Path, tries: int) -> None:
    """Whichever comes last, all of the folder is its own; nothing of the other's is left."""
    for attempt in range(tries):
        data = tmp_path / str(attempt)
        at_once(container, raw, data, (["unsafebench"], ["unsafebench", "--limit", "3"], ["unsafebench"]))
        task = tasks.load("unsafebench")
        assert not [check for check in examine(task, data) if check.level == "error"]
        after = hashes(data)
        limit = read_json(data / "unsafebench/card.json")["limit"]
        run(task, raw, tmp_path / f"{attempt}-alone", limit=limit)
        expected = hashes(tmp_path / f"{attempt}-alone")
        assert {name: after[name] for name in expected} == expected


def test_a_second_conversion_of_a_task_waits_and_says_so(raw: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with locks.held(data / "unsafebench" / ".convert.lock"):
        process = started([], raw, data, "unsafebench")
        assert process.stdout
        late = threading.Timer(120, process.kill)
        late.start()
        said = next((line for line in process.stdout if "waiting for it" in line), "")
        late.cancel()
        assert f"another mtrl convert is writing {data}/unsafebench" in said
        time.sleep(1)
        assert process.poll() is None and not (data / "unsafebench/card.json").exists()
    process.communicate(timeout=120)
    assert process.returncode == 0 and (data / "unsafebench/card.json").exists()


def test_temporary_names_and_the_sweep_know_no_process_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Process 1 of one container and process 1 of another write to one folder at once."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with written(tmp_path / "a") as one, written(tmp_path / "a") as two:
        assert one != two
        one.write_text("1")
        two.write_text("2")
    assert [file.name for file in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "1"
    (tmp_path / ".a.0123456789abcdef.tmp").write_text("half")
    sweep(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_conversion_leaves_the_files_of_others_alone(raw: Path, tmp_path: Path) -> None:
    """Another host's conversion of another task is in the middle of a file; ours does not take it for a dead one's."""
    data = tmp_path / "data"
    theirs = [data / "images/.seetrue/.x.png.0123456789abcdef.tmp", data / "seetrue/.card.json.0123456789abcdef.tmp"]
    for file in theirs:
        file.parent.mkdir(parents=True)
        file.write_text("half")
    run(tasks.load("unsafebench"), raw, data)
    assert all(file.exists() for file in theirs) and not (data / "images/.unsafebench").exists()


def test_the_registry_keeps_a_task_that_another_host_converts(raw: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    run(tasks.load("unsafebench"), raw, data)
    before = read_json(data / "dataset_info.json")
    (data / "unsafebench/card.json").unlink()  # as at the beginning of its next conversion
    run(tasks.load("imagereward"), raw, data)
    after = read_json(data / "dataset_info.json")
    assert before.items() <= after.items() and "imagereward_train" in after
    assert list(after)[:3] == ["imagereward_train", "imagereward_val", "imagereward_test"]


def _no_flock(*_: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def test_without_file_locks_there_is_a_message_or_a_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", _no_flock)
    with (tmp_path / "f").open("w") as file, pytest.raises(UserError, match="has no file locks") as error:
        locks.take(file.fileno())
    assert str(tmp_path / "f") in str(error.value) and "another file system" in error.value.then
    busy, most = [], []

    def work() -> None:
        with locks.held(tmp_path / "l.lock"):
            busy.append(1)
            most.append(len(busy))
            time.sleep(0.05)
            busy.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == [1] * 6
    assert sorted(file.name for file in tmp_path.iterdir()) == ["f", "l.lock"]


def test_a_run_and_an_evaluation_without_file_locks_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", _no_flock)
    for folder in (tmp_path / "run", tmp_path / "eval"):
        with pytest.raises(UserError, match="has no file locks") as error:
            if folder.name == "run":
                with Run(folder).held():
                    pass
            else:
                Recording(folder, IDENTITY)
        assert str(folder) in str(error.value) and "is writing" not in str(error.value)
    assert not Run(tmp_path / "run").locked()


def _hold_and_die(lease: Path) -> None:
    fcntl.flock = _no_flock  # type: ignore[assignment]
    with locks.held(lease):
        os._exit(1)


def test_a_lease_outlives_its_holder_for_a_while_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", _no_flock)
    for name, value in {"POLL": 0.05, "BEAT": 0.2, "STALE": 1.0, "SETTLE": 0.2}.items():
        monkeypatch.setattr(locks, name, value)
    process = multiprocessing.get_context("fork").Process(target=_hold_and_die, args=(tmp_path / "l.lock",))
    process.start()
    process.join(30)
    began = time.monotonic()
    with locks.held(tmp_path / "l.lock") as waited:  # its holder is dead
        assert waited and time.monotonic() - began > 1.0
        taken: list[float] = []

        def other() -> None:
            with locks.held(tmp_path / "l.lock"):
                taken.append(time.monotonic())

        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(2)  # twice STALE: this holder lives and touches it
        assert not taken
        ended = time.monotonic()
    thread.join(30)
    assert taken and taken[0] >= ended


def test_without_file_locks_a_conversion_works(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", _no_flock)
    card, _ = run(tasks.load("unsafebench"), raw, tmp_path / "data")
    assert card["counts"] and not list((tmp_path / "data").rglob("*.lease.lock"))
    assert conversion.convert(tasks.load("unsafebench"), raw, tmp_path / "data").unchanged
