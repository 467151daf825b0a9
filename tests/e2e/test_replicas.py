"""Replicas on Ray: real raylets and real vLLM on this machine's cores, killed on the way; the numbers are
one engine's.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mtrl.core.errors import UserError
from mtrl.core.files import read_jsonl
from mtrl.demo.walkthrough import tiny
from mtrl.evaluate.engines.base import Sampling
from mtrl.evaluate.engines.offline import VllmModel
from mtrl.evaluate.engines.replicas import Replica
from mtrl.evaluate.engines.request import Request
from tests.conftest import DEMO, Result, mtrl

pytestmark = pytest.mark.e2e
EVAL = ["eval", "--ckpt", str(tiny()), "--tasks", "demo_quality,demo_pairs"]
ASKED = 600
FILE = Path("r/predictions.jsonl")


class Driver:
    """An `mtrl eval --replicas 2 --out r` under way."""

    def __init__(self, home: Path, *more: str) -> None:
        command = [sys.executable, "-m", "mtrl", *EVAL, "--out", "r", "--replicas", "2", *more]
        self.process = subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.said = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        self.said = self.process.stdout.read()

    @staticmethod
    def actors() -> list[psutil.Process]:
        """The replicas' processes: below the driver, or below the test's own raylets. Others' Ray is left alone."""
        below = psutil.Process().children(recursive=True)
        return [process for process in below if _title(process).startswith("ray::Replica")]

    def until(self, rows: int, seconds: float = 300) -> None:
        """Waits until so many rows are written, or the driver has ended."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and len(lines()) < rows:
            assert time.monotonic() < deadline, lines()[-1:]
            time.sleep(0.05)

    def wait(self, seconds: float = 400) -> Result:
        code = self.process.wait(seconds)
        self._reader.join()
        return Result(code, self.said, self.said)


def _title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):  # it may end as we look
        return " ".join(process.cmdline())
    return ""


def lines() -> list[str]:
    return FILE.read_text().splitlines() if FILE.exists() else []


def tree(driver: Driver) -> list[psutil.Process]:
    """What a driver started. Ray's two small agents are left out: they try to tell the dead cluster for a
    minute first.
    """
    found = psutil.Process(driver.process.pid).children(recursive=True)
    return [process for process in found if "Agent" not in _title(process)]


def gone(processes: list[psutil.Process], seconds: float = 30) -> bool:
    return not psutil.wait_procs(processes, timeout=seconds)[1]


def same_as_one_engine(one: dict[str, object], asked: int = ASKED) -> None:
    """Every request answered, each once, in lines that are all whole; and the metrics of one engine without Ray."""
    rows = [json.loads(line) for line in lines()]
    assert len(rows) == asked == len({(row["task"], row["id"], row["order"], row["vote"]) for row in rows})
    assert timeless(json.loads(Path("r/metrics.json").read_text())) == timeless(one)


def timeless(metrics: dict[str, object]) -> dict[str, object]:
    """Metrics without when each task's last answer was generated."""
    return {
        name: {key: n for key, n in value.items() if key != "answered"} if isinstance(value, dict) else value
        for name, value in metrics.items()
    }


@pytest.fixture(scope="module")
def one(converted: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The metrics of one vLLM, in the process of mtrl eval."""
    folder = tmp_path_factory.mktemp("one")
    done = mtrl(*EVAL, "--out", folder, cwd=converted)
    assert done.code == 0, done.err
    return json.loads((folder / "metrics.json").read_text())  # type: ignore[no-any-return]


def test_a_killed_replica_and_a_killed_driver_change_nothing(project: Path, one: dict[str, object]) -> None:
    driver = Driver(project)
    driver.until(rows=1)
    started = tree(driver)
    victim = random.Random(0).choice(driver.actors())
    victim.kill()
    held = len(lines())
    driver.until(rows=held + 150)
    driver.process.kill()
    driver.wait()
    assert gone(started), [_title(process) for process in started]
    before = read_jsonl(FILE)
    assert held < len(before) < ASKED and " died (" in driver.said and "handed out again" in driver.said
    done = mtrl(*EVAL, "--out", "r", cwd=project)  # the number of replicas is no part of the evaluation's identity
    assert done.code == 0, done.err
    assert read_jsonl(FILE)[: len(before)] == before
    same_as_one_engine(one)


def test_ctrl_c_ends_the_replicas(project: Path) -> None:
    driver = Driver(project)
    driver.until(rows=1)
    started = tree(driver)
    driver.process.send_signal(signal.SIGINT)
    stopped = driver.wait(60)
    assert (
        stopped.code == 130 and "The same command continues from here" in stopped.err and "Traceback" not in stopped.err
    )
    assert gone(started)
    assert 0 < len(lines()) < ASKED and all(json.loads(line) for line in lines())


@pytest.fixture
def cluster() -> Iterator[object]:
    """A Ray cluster of two nodes of one core each: two real raylets on this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    args = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args=args)
    try:
        yield nodes
    finally:
        nodes.shutdown()


def test_a_node_that_leaves_a_cluster(project: Path, one: dict[str, object], cluster) -> None:  # type: ignore[no-untyped-def]
    leaving = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    few = mtrl(*EVAL, "--out", "r", "--replicas", "3", "--ray-address", cluster.address, cwd=project)
    assert few.code == 2 and "there is room for 2 replicas of 1 CPU; 3 were asked for" in few.err, few.err
    driver = Driver(project, "--ray-address", cluster.address)
    driver.until(rows=1)
    actors = driver.actors()
    driver.process.kill()  # the cluster's replicas end with their driver, and the next finds their places free
    driver.wait()
    assert gone(actors)
    driver = Driver(project, "--ray-address", cluster.address)
    driver.until(rows=len(lines()) + 50)
    cluster.remove_node(leaving)
    done = driver.wait()
    assert done.code == 0, done.out
    same_as_one_engine(one)
    assert json.loads(Path("r/eval.json").read_text())["engine"]["replicas"] == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--replicas", "2", "--ray-address", "127.0.0.1:1"], "no Ray answers at 127.0.0.1:1"),
        (["--replicas", "2", "--ray-address", "ray://head:10001"], "is not HOST:PORT"),
        (["--ray-address", "127.0.0.1:6379"], "--ray-address has no effect without --replicas"),
        (["--replicas", "999"], "replicas of 1 CPU; 999 were asked for (CPUs of each node: "),
    ],
)
def test_an_address_or_a_number_that_cannot_be(project: Path, more: list[str], said: str) -> None:
    begun = time.monotonic()
    done = mtrl(*EVAL, "--out", "r", *more, cwd=project)
    assert done.code == 2 and said in done.err and "next: " in done.err and "Traceback" not in done.err, done.err
    assert time.monotonic() - begun < 60 and not lines()


def test_an_address_where_something_else_answers(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            link, _ = server.accept()
            link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            link.close()

        threading.Thread(target=greet, daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        done = mtrl(*EVAL, "--out", "r", "--replicas", "2", "--ray-address", address, cwd=project)
    assert done.code == 2 and f"no Ray answers at {address}" in done.err and "ray start" in done.err


def test_a_model_that_cannot_load_is_said_once(project: Path) -> None:
    shutil.copytree(tiny(), "broken")
    config = Path("broken/config.json")
    config.write_text(config.read_text().replace('"qwen3_vl_moe"', '"nonsense"'))
    done = mtrl("eval", "--ckpt", "broken", "--tasks", "demo_quality", "--out", "r", "--replicas", "2", cwd=project)
    assert done.code == 1 and done.err.count("vLLM cannot load") == 1 and "Traceback" not in done.err, done.err


def test_replicas_that_die_again_and_again_stop_with_the_reason(project: Path) -> None:
    driver, killed = Driver(project), set()
    while driver.process.poll() is None:
        for actor in driver.actors():
            if actor.pid not in killed:
                killed.add(actor.pid)
                actor.kill()
        time.sleep(0.1)
    done = driver.wait()
    assert done.code == 1 and "died 3 times without an answer in between: The actor is dead" in done.err, done.err
    assert len(killed) < 7 and "Traceback" not in done.err


def test_a_path_that_one_node_lacks_is_named_with_the_node(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"node [\d.]+ of the Ray cluster has no {tmp_path}/data"):
        Replica().load([str(tmp_path / "data")], VllmModel("m", 1, 1, 1, 1))
    asked = Request("1", "t", "given", 0, "<image>?", (tmp_path / "gone.jpg",), "yes", ("yes", "no"))
    with pytest.raises(
        UserError, match=r"gone\.jpg"
    ):  # and not a rejected request, which would count as a wrong answer
        Replica().exchange([asked], Sampling(16))


@pytest.mark.long
def test_killed_at_ten_points(project: Path) -> None:
    """kill -9 of a replica or of the driver, seeded, ten times; what was written before a kill stays as it was."""
    every = ["--tasks", ",".join(DEMO), "--split", "train"]
    assert mtrl(*EVAL, *every, "--out", "one", cwd=project).code == 0
    chance, driver, kept = random.Random(0), Driver(project, *every), ""
    for number in range(10):
        driver.until(rows=len(lines()) + chance.randrange(1, 30))
        assert driver.process.poll() is None, driver.said
        if number % 2 == 0:
            chance.choice(driver.actors()).kill()
        else:
            started = tree(driver)
            driver.process.kill()
            driver.wait()
            assert gone(started)
            whole = FILE.read_text()
            whole = whole[: whole.rfind("\n") + 1]  # a kill may tear the last line
            assert whole.startswith(kept)
            kept = whole
            driver = Driver(project, *every)
    done = driver.wait()
    assert done.code == 0, done.out
    assert FILE.read_text().startswith(kept)
    same_as_one_engine(json.loads(Path("one/metrics.json").read_text()), 1500)
