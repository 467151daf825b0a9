"""The command `mtrl serve`: what it refuses before a model is loaded, and a whole run in front of an endpoint."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mtrl.config import prompting, tasks
from mtrl.demo.walkthrough import tiny
from mtrl.evaluate import decision
from mtrl.evaluate.subject import fingerprint
from tests.unit.serving_fixture import png, says
from tests.unit.standin import standin
from tests.unit.test_serving import decision as threshold


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MTRL_API_KEY", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    return tmp_path


def test_what_cannot_be_served(cli) -> None:
    of = ("serve", "--ckpt", tiny())
    done = cli(*of)
    assert done.code == 2 and "pass --tasks" in done.err  # the tiny model was not trained by mtrl
    assert cli(*of, "--tasks", "no_such_task").code == 2
    there = ("serve", "--endpoint", "http://127.0.0.1:9/v1", "--served-model", "m", "--tasks", "koniq")
    done = cli(*there, "--cache", "c")
    assert done.code == 2 and "--cache" in done.err
    done = cli(*of, "--tasks", "koniq", "--cache", ".")
    assert done.code == 2 and "--cache . is a folder" in done.err and "pass --cache verdicts.sqlite3" in done.err
    for judged in (("--ckpt", tiny(), "--cache-mb", 0), ("--ckpt", "a-hub/name")):  # nothing would be kept in the file
        done = cli("serve", *judged, "--tasks", "koniq", "--cache", "c")
        assert done.code == 2 and "--cache has no effect" in done.err
    done = cli(*there, "--port", 0)
    assert done.code == 1 and "does not answer" in done.err
    done = cli(*of, "--tasks", "koniq", "--host", "0.0.0.0", "--port", 0)
    assert done.code == 2 and "MTRL_API_KEY" in done.err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = cli(*of, "--tasks", "koniq", "--port", taken.getsockname()[1])
        raw = cli(*of, "--tasks", "koniq", "--raw", "--port", taken.getsockname()[1])
    assert done.code == 2 and "pass another --port" in done.err
    assert f"no verdict is undecided, however unsure: {tiny()} has no decision.json" in done.out
    assert "undecided" not in raw.out
    assert cli(*of, "--tasks", "koniq", "--host", "no.such.host.invalid", "--port", 0).code == 2


def test_a_threshold_of_another_judge_or_prompt_is_an_error(here: Path, cli) -> None:
    shutil.copytree(tiny(), here / "mine")
    seetrue = tasks.load("seetrue")
    fits = threshold(0.9).model_copy(update={"prompt_sha256": prompting.sha256(seetrue, "sft")})
    told = {"of another judge": ("0" * 64, fits), "of another prompt": (fingerprint(here / "mine"), threshold(0.9))}
    for words, (judge, one) in told.items():
        found = decision.Decisions(schema=1, judge=judge, tasks={"seetrue": one})
        (here / "mine" / decision.FILE).write_text(found.model_dump_json(by_alias=True, exclude_none=True))
        done = cli("serve", "--ckpt", "mine", "--tasks", "seetrue", "--port", 0)
        assert done.code == 2 and words in done.err, done.err
    found = decision.Decisions(schema=1, judge=fingerprint(here / "mine"), tasks={"seetrue": fits})
    (here / "mine" / decision.FILE).write_text(found.model_dump_json(by_alias=True, exclude_none=True))
    done = cli("serve", "--ckpt", "mine", "--tasks", "seetrue,koniq", "--port", 0)
    assert done.code == 2 and "no threshold for task koniq" in done.err


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_run_in_front_of_an_endpoint(here: Path, sent: signal.Signals, status: int) -> None:
    """SIGTERM is how a service manager ends a server, which is no failure."""

    def answer(_: int, asked: dict[str, Any]) -> Any:
        return says("yes", {"yes": 0.9, "no": 0.1})

    (here / "IMAGE").write_bytes(png())
    with standin(answer) as model:
        words = ["serve", "--endpoint", model.url, "--served-model", "m", "--tasks", "seetrue", "--port", "0"]
        environment = {**os.environ, "OPENAI_API_KEY": "key-of-the-endpoint"}
        mtrl = subprocess.Popen(
            [sys.executable, "-m", "mtrl", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment,
        )  # fmt: skip
        assert mtrl.stdout and mtrl.stderr
        try:
            example = next((line for line in mtrl.stdout if line.startswith("  curl ")), "")
            assert example, mtrl.stderr.read()
            asked = subprocess.run(shlex.split(example), capture_output=True, text=True, timeout=60)  # as it is printed
            assert json.loads(asked.stdout)["verdict"] == "yes", asked
            mtrl.send_signal(sent)
            assert mtrl.wait(60) == status
            assert mtrl.stdout.read().splitlines()[-1] == f"ended by {sent.name}" and not mtrl.stderr.read()
        finally:
            mtrl.kill()
            mtrl.wait()
    assert model.keys == {"Bearer key-of-the-endpoint"} and not (here / "user").exists()  # no file is kept
