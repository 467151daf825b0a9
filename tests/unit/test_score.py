"""`mtrl score`: answers already paid for, read by today's parser; nothing is asked and no response is touched."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from mtrl.evaluate import predictions, run
from mtrl.evaluate.reread import reread

RESPONSES = {"0": "yes", "1": "No.", "2": "I know", "3": "yes"}


def stale(path: Path, name: str = predictions.FILE) -> Path:
    """An evaluation whose verdicts an older parser read: 0 right, 1 unread, 2 "know" taken for no, 3 turned round."""
    path.mkdir(parents=True, exist_ok=True)
    verdicts, sure = {"0": "yes", "1": None, "2": "no", "3": "no"}, {"0": 0.9, "1": None, "2": 0.7, "3": 0.6}
    about = {
        "split": "test",
        "prompt_sha256": "p",
        "samples_sha256": "s",
        "limit": None,
        "requests": 4,
        "choices": ["yes", "no"],
    }
    identity = {"method": "zero_shot", "path": "m", "style": "sft", "sampling": {"votes": 1}, "tasks": {"t": about}}
    (path / predictions.IDENTITY).write_text(json.dumps(identity))
    rows = [
        {"id": i, "task": "t", "order": "given", "vote": 0, "response": text, "verdict": verdicts[i], "lenient": verdicts[i],
         "label": "yes" if i in "03" else "no", "correct": False, "confidence": sure[i], "tokens": 2, "extra": "kept"}
        for i, text in RESPONSES.items()
    ]  # fmt: skip
    (path / name).write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"torn')
    return path


def test_verdicts_are_todays(tmp_path: Path, cli) -> None:
    folder = stale(tmp_path / "e")
    done = cli("score", folder / predictions.FILE)
    assert done.code == 0 and "4 answers read again: 3 verdicts changed (3 of the lenient parse)" in done.out
    _, rows = predictions.load(folder)
    assert {row["id"]: row["response"] for row in rows} == RESPONSES
    assert [row["verdict"] for row in rows] == ["yes", "no", None, "yes"]
    assert [row["correct"] for row in rows] == [True, True, False, True]
    assert [row["confidence"] for row in rows] == [0.9, None, None, 0.4]  # of the other verdict: 1 - 0.6
    assert all(row["extra"] == "kept" for row in rows)
    found = json.loads((folder / "metrics.json").read_text())
    assert found["t"]["accuracy"] == 0.75 and found["t"]["invalid_rate"] == 0.25
    before = (folder / predictions.FILE).stat()
    assert reread(folder) == {"answers": 4, "verdict": 0, "lenient": 0}
    assert (folder / predictions.FILE).stat().st_ino == before.st_ino  # nothing changed, nothing written


def test_a_judge_that_gives_one_answer_to_every_image_is_said_to(tmp_path: Path, cli) -> None:
    folder = stale(tmp_path / "e")
    file = folder / predictions.FILE
    rows = [json.loads(line) for line in file.read_text().splitlines()[:-1]]
    file.write_text("".join(json.dumps({**row, "response": "Yes"}) + "\n" for row in rows))
    assert "t: the judge answered yes to all 4 rows" in cli("score", file).out
    file.write_text("".join(json.dumps({**row, "response": "perhaps"}) + "\n" for row in rows))
    assert "to all 4 rows" not in cli("score", file).out  # invalid ones are counted, and are no answer
    assert "to all 4 rows" not in cli("score", stale(folder)).out


def test_a_file_of_another_name_keeps_the_tables_metrics(tmp_path: Path, cli) -> None:
    folder = stale(tmp_path / "e")
    run.score(folder)
    before = (folder / "metrics.json").read_bytes()
    stale(folder, "mended.jsonl")
    assert cli("score", folder / "mended.jsonl").code == 0
    assert json.loads((folder / "mended.metrics.json").read_text())["t"]["accuracy"] == 0.75
    assert (folder / "metrics.json").read_bytes() == before


def test_an_evaluation_that_is_writing_is_left_alone(tmp_path: Path, cli) -> None:
    folder = stale(tmp_path / "e")
    before = (folder / predictions.FILE).read_bytes()
    with (folder / predictions.FILE).open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = cli("score", folder)
    assert done.code == 2 and "is writing" in done.err
    assert (folder / predictions.FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / predictions.FILE).unlink(), "no predictions"),
        (lambda f: (f / predictions.FILE).write_text(""), "no predictions"),
        (lambda f: (f / predictions.FILE).write_text("id,label\n1,yes\n"), "no predictions"),
        (lambda f: (f / predictions.FILE).write_text('{"id": 1, "answer": "yes"}\n'), "object 1 is no prediction: it has no task"),
        (lambda f: (f / predictions.IDENTITY).unlink(), "there is no eval.json"),
        (lambda f: (f / predictions.IDENTITY).write_text('{"tasks": {"t": {"split": "test"}}}'), "another version"),
    ],
)  # fmt: skip
def test_what_is_no_evaluation_is_said_in_words(tmp_path: Path, cli, spoil, says: str) -> None:
    folder = stale(tmp_path / "e")
    spoil(folder)
    done = cli("score", folder)
    assert done.code == 2 and says in done.err and "next: " in done.err, done.err
