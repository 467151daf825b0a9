"""`mtrl score`: answers already paid for, read by today's parser; nothing is asked and no response is touched."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from mtrl.evaluate import predictions
from mtrl.evaluate.identity import IDENTITY
from mtrl.evaluate.rescore import Reread, reread
from mtrl.evaluate.scores import score

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
    (path / IDENTITY).write_text(json.dumps(identity))
    rows = [
        {
            "id": i,
            "task": "t",
            "order": "given",
            "vote": 0,
            "response": text,
            "verdict": verdicts[i],
            "lenient": verdicts[i],
            "label": "yes" if i in "03" else "no",
            "correct": False,
            "confidence": sure[i],
            "tokens": 2,
            "extra": "kept",
        }
        for i, text in RESPONSES.items()
    ]
    (path / name).write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"torn')
    return path


def test_verdicts_are_todays(tmp_path: Path, cli) -> None:
    folder = stale(tmp_path / "e")
    done = cli("score", folder / predictions.FILE)
    assert done.code == 0 and "4 answers parsed again: 3 verdicts changed (3 by the lenient parse)" in done.out
    rows = predictions.load(folder).rows
    assert {row.id: row.response for row in rows} == RESPONSES
    assert [row.verdict for row in rows] == ["yes", "no", None, "yes"]
    assert [row.correct for row in rows] == [True, True, False, True]
    assert [row.confidence for row in rows] == [0.9, None, None, 0.4]  # of the other verdict: 1 - 0.6
    lines = [json.loads(line) for line in (folder / predictions.FILE).read_text().splitlines()]
    assert all(line["extra"] == "kept" for line in lines)
    found = json.loads((folder / "metrics.json").read_text())
    assert found["t"]["accuracy"] == 0.75 and found["t"]["invalid_rate"] == 0.25
    before = (folder / predictions.FILE).stat()
    assert reread(folder) == Reread(answers=4, verdict=0, lenient=0)
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
    score(folder)
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
        (lambda f: (f / predictions.FILE).write_text("id,label\n1,yes\n"), "line 1 is not valid JSON"),
        (
            lambda f: (f / predictions.FILE).write_text('{"id": 1, "answer": "yes"}\n'),
            "line 1 is not a prediction: id: Input should be a valid string (given: 1); task is missing",
        ),
        (lambda f: (f / IDENTITY).unlink(), "it has no eval.json"),
        (lambda f: (f / IDENTITY).write_text('{"tasks": {"t": {"split": "test"}}}'), "another version"),
    ],
)
def test_what_is_no_evaluation_is_said_in_words(tmp_path: Path, cli, spoil, says: str) -> None:
    folder = stale(tmp_path / "e")
    spoil(folder)
    done = cli("score", folder)
    assert done.code == 2 and says in done.err and "next: " in done.err, done.err


def damaged(change: dict[str, object], drop: str = "") -> str:
    row: dict[str, object] = {
        "id": "0",
        "task": "t",
        "order": "given",
        "vote": 0,
        "response": "yes",
        "verdict": "yes",
        "lenient": "yes",
        "label": "yes",
        "correct": True,
        "confidence": 0.9,
        "tokens": 1,
        "finish_reason": "stop",
        "latency": 0.1,
    }
    return json.dumps({key: value for key, value in {**row, **change}.items() if key != drop}) + "\n"


WRONG = [None, 7, -1, True, 1.5, float("nan"), float("inf"), "x", ["a"], {"a": 1}]
FITS = {  # what a reader may take
    "id": ["x"],
    "response": ["x"],
    "finish_reason": ["x"],
    "verdict": [None],
    "lenient": [None],
    "confidence": [None, float("nan"), float("inf")],
    "vote": [7],
    "tokens": [7, -1],
    "latency": [7, 1.5, -1],
}


@pytest.mark.parametrize("key", json.loads(damaged({})))
def test_a_damaged_prediction_is_one_line_of_error(tmp_path: Path, cli, key: str) -> None:
    folder = stale(tmp_path / "e")
    good = damaged({"id": "9"})
    for value in WRONG:
        text = damaged({key: value})
        if key == "correct" or any(repr(value) == repr(fit) for fit in FITS.get(key, [])):
            continue  # `correct` is computed anew
        (folder / predictions.FILE).write_text(good + text)
        for command in (("score", folder), ("compare", folder, folder)):
            done = cli(*command)
            assert done.code == 2 and "predictions.jsonl, line 2" in done.err and done.err.count("\n") == 2, (
                value,
                done,
            )
    if key in ("id", "task", "order", "vote", "response", "verdict", "lenient", "label"):
        (folder / predictions.FILE).write_text(damaged({}, drop=key))
        assert f"line 1 is not a prediction: {key} is missing" in cli("score", folder).err


@pytest.mark.parametrize(
    "text", ["[1]", "7", "null", '"x"', "[" * 10_000, '{"id": ' + "9" * 5000 + "}", '{"id": 1, "id": 2}']
)
def test_a_line_that_is_no_prediction(tmp_path: Path, cli, text: str) -> None:
    folder = stale(tmp_path / "e")
    (folder / predictions.FILE).write_text(text + "\n" + damaged({}))
    done = cli("score", folder)
    assert done.code == 2 and "line 1" in done.err and done.err.count("\n") == 2


TYPES = {  # what a reader may take, by place in eval.json
    ("method",): lambda v: v in ("zero_shot",),
    ("path",): lambda v: isinstance(v, str),
    ("style",): lambda v: v in ("sft", "rl"),
    ("sampling",): lambda v: False,
    ("sampling", "votes"): lambda v: v == 7,
    ("tasks",): lambda v: v == {},
    ("tasks", "t"): lambda v: False,
    ("tasks", "t", "split"): lambda v: False,
    ("tasks", "t", "prompt_sha256"): lambda v: isinstance(v, str),
    ("tasks", "t", "samples_sha256"): lambda v: isinstance(v, str),
    ("tasks", "t", "limit"): lambda v: v is None or (v in (7, -1) and v is not True),
    ("tasks", "t", "requests"): lambda v: v == 7,
    ("tasks", "t", "choices"): lambda v: False,
    (): lambda v: False,
}


@pytest.mark.parametrize("place", TYPES)
def test_a_damaged_eval_json_is_one_line_of_error(tmp_path: Path, cli, place: tuple[str, ...]) -> None:
    folder = stale(tmp_path / "e")
    whole = (folder / IDENTITY).read_text()
    for value in [*WRONG, [], {}]:
        spoiled = json.loads(whole)
        inside = spoiled
        for part in place[:-1]:
            inside = inside[part]
        if place:
            inside[place[-1]] = value
        (folder / IDENTITY).write_text(json.dumps(spoiled if place else value))
        done = cli("score", folder)
        if not TYPES[place](value):
            assert done.code == 2 and "eval.json" in done.err and done.err.count("\n") == 2, (place, value, done)
    (folder / IDENTITY).write_text(whole.replace('"t"', '"../t"'))
    assert cli("score", folder).code == 2


def test_answers_in_one_order_only_are_no_metrics(tmp_path: Path, cli) -> None:
    folder = stale(tmp_path / "e")
    lines = (damaged({"id": str(n), "order": "turned"}) for n in range(4))
    (folder / predictions.FILE).write_text("".join(lines))
    done = cli("score", folder)
    assert done.code == 0 and "no task in" in done.out + done.err
