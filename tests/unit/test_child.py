"""Child processes: which lines of their output are shown, and how they end."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mtrl.core import child
from mtrl.core.errors import Interrupted


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "(no output)"),
        ("one\n\n  two \n\n", "two"),
        ("loading 10%\rloading 20%\rdone", "done"),
        ("Traceback ...\nValueError: wrong\n  in detail\nwarning", "ValueError: wrong"),
        ("ValueError: wrong\nmtrl: the task is not known\nnext: mtrl tasks", "mtrl: the task is not known"),
        ("note: an Error in the text\nlast", "last"),
    ],
)
def test_the_reason_is_the_last_error_or_the_last_line(output: str, reason: str) -> None:
    assert child.reason(output) == reason


def test_a_logs_earlier_attempts_are_left_out(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert child.last_lines_of_log(log) == []
    log.write_text("ValueError: earlier\n")
    before = log.stat().st_size
    with log.open("a") as file:
        file.write("".join(f"line {number}\n" for number in range(10)))
    assert child.last_lines_of_log(log, before) == [f"line {number}" for number in range(4, 10)]
    assert child.last_lines_of_log(log)[0] == "ValueError: earlier"


def test_mtrl_as_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "out").open("wb") as output:
        assert child.run_mtrl(["no-such-verb"], cwd=tmp_path, stdout=output, stderr=subprocess.STDOUT) == 2
    assert "no-such-verb" in (tmp_path / "out").read_text()
    (tmp_path / "mtrl.py").write_text(
        "import sys; sys.exit(130)"
    )  # found first: python -m puts the working directory there
    with pytest.raises(Interrupted):
        child.run_mtrl([], cwd=tmp_path)
