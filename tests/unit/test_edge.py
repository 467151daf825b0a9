"""The edge: each reader of outside text and files against each hostile input. One line of error, in short time, never a
traceback.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtrl.config import recipe
from mtrl.core import files, rundir, schema
from mtrl.core.errors import UserError
from mtrl.core.parsing import DEPTH, parse_json, parse_yaml
from mtrl.runs import steps


@contextmanager
def refused(says: str = "", seconds: float = 3.0) -> Iterator[None]:
    """A second on an idle core; the limit here is for a busy one."""
    begun = time.process_time()
    with pytest.raises(UserError, match=says) as stop:
        yield
    assert time.process_time() - begun < seconds
    assert "\n" not in str(stop.value) and len(str(stop.value)) < 400, str(stop.value)


def aliases(merge: str = "") -> str:
    names = "abcdefghij"
    lines = ["a: &a {k: 1}" if merge else "a: &a [x]"]
    for before, name in itertools.pairwise(names):
        held = ",".join([f"*{before}"] * 10)
        lines.append(f"{name}: &{name}\n  <<: [{held}]" if merge else f"{name}: &{name} [{held}]")
    return "\n".join(lines)


YAML = {
    "an alias bomb": (aliases(), "more than 100,000 values"),
    "a bomb of merged keys": (aliases("merge"), "more than 100,000 values"),
    "a wide bomb": (f"a: &a [{'x,' * 30_000}]\nb: [{'*a,' * 15_000}]", "more than 100,000 values"),
    "itself": ("&a [*a]", "nested deeper"),
    "nested lists": ("[" * 10_000, "nested deeper"),
    "nested mappings": ("{a: " * 10_000, "nested deeper"),
    "nested blocks": ("- " * 10_000 + "x", "nested deeper"),
    "a huge integer": ("a: " + "9" * 4000, "64 bits"),
    "an integer that Python does not read": ("a: " + "9" * 5000, "digits"),
    "a huge hexadecimal": ("a: 0x" + "f" * 100_000, "64 bits"),
    "an infinite number": ("a: 1e999", "not finite"),
    "an infinite number by its tag": ("a: !!float .inf", "not finite"),
    "half of a pair": ('a: "\\ud800"', "surrogate"),
    "half of a pair as a key": ('"\\ud800": a', "surrogate"),
    "a wrong integer": ("a: !!int x", "invalid literal"),
    "a wrong boolean": ("a: !!bool x", "its tag"),
    "a wrong date": ("a: !!timestamp x", "its tag"),
    "a date that is none": ("a: !!timestamp 2001-99-99", "month"),
    "code": ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
    "a NUL": ("a: \0", "unacceptable character"),
    "a key that cannot be one": ("? {a: [b]}\n: 1", "unhashable"),
    "too much": ("a: b\n" * 200_000, "characters"),
    "a key given twice": ("a: 1\na: 2", "given twice"),
}


@pytest.mark.parametrize("name", YAML)
def test_hostile_yaml(name: str, tmp_path: Path) -> None:
    text, says = YAML[name]
    with refused(says):
        parse_yaml(text, "a.yaml")
    (tmp_path / "a.yaml").write_text(text)
    with refused(r"a\.yaml.*" + says):
        files.read_yaml(tmp_path / "a.yaml")


JSON = {
    "nested lists": ("[" * 100_000, "nested deeper"),
    "nested objects": ('{"a":' * 100_000, "nested deeper"),
    "one level too many": ("[" * (DEPTH + 1) + "1" + "]" * (DEPTH + 1), "nested deeper"),
    "a huge integer": ("9" * 5000, "64 bits"),
    "an integer of 65 bits": (str(2**64), "64 bits"),
    "a negative one": (str(-(2**63) - 1), "64 bits"),
    "NaN": ("NaN", "NaN is not a finite"),
    "an infinity": ('{"a": -Infinity}', "-Infinity is not a finite"),
    "a float out of range": ("1e999", "not finite"),
    "half of a pair": ('"\\ud800"', "surrogate"),
    "half of a pair as a key": ('{"\\uDC00": 1}', "surrogate"),
    "a key given twice": ('{"a": 1, "a": 2}', "'a' is given twice"),
    "nothing": ("", "Expecting value"),
    "two values": ("1 2", "Extra data"),
    "torn": ('{"a": "b', "Unterminated"),
    "a raw control character": ('"\n"', "control character"),
}


@pytest.mark.parametrize("name", JSON)
def test_hostile_json(name: str, tmp_path: Path) -> None:
    text, says = JSON[name]
    with refused(f"a.json is not valid JSON: .*{says}"):
        parse_json(text, "a.json")
    (tmp_path / "a.json").write_text(text)
    with refused(says):
        files.read_json(tmp_path / "a.json")
    if text and "\n" not in text:
        (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n' + text + "\n")
        with refused(f"a.jsonl, line 3 .*{says}"):
            list(files.json_lines(tmp_path / "a.jsonl"))
        log = files.read_jsonl(tmp_path / "a.jsonl")
        taken = {"an infinity": {"a": -math.inf}, "half of a pair as a key": {"?": 1}}  # what other programs log
        assert log == [{"a": 1}, *([taken[name]] if name in taken else [])]


def test_what_is_within_bounds_is_read() -> None:
    assert parse_json("[" * DEPTH + "]" * DEPTH, "x")
    assert parse_json('"\\ud83d\\ude00"', "x") == "\U0001f600"
    assert parse_json(str(2**64 - 1), "x") == 2**64 - 1
    assert parse_json(b'{"a": {"a": 1.5}, "b": [true, null]}', "x") == {"a": {"a": 1.5}, "b": [True, None]}
    assert parse_yaml("a: &x {b: 1}\nc:\n  <<: *x\n  d: yes\n", "x") == {"a": {"b": 1}, "c": {"b": 1, "d": "yes"}}
    with refused("byte 0 is not UTF-8"):
        parse_json(b"\xff", "x")


@given(st.lists(st.sampled_from(["[%s]", '{"a": %s}', '["]{", %s]', "[[], {}, %s]"]), max_size=30), st.booleans())
def test_levels_are_counted_whatever_they_are_made_of(around: list[str], strict: bool) -> None:
    for depth in (DEPTH - 1, DEPTH, DEPTH + 1, 2 * DEPTH):
        text = "1"
        for n in range(depth):
            text = (around[n % len(around)] if around else "[%s]") % text
        if depth <= DEPTH:
            assert parse_json(text, "x", strict=strict) == json.loads(text)
        else:
            with refused(f"nested deeper than {DEPTH} levels"):
                parse_json(text, "x", strict=strict)


@given(st.integers(-(10**21), 10**21), st.integers(1, 10**25))
def test_integers_of_more_than_64_bits(number: int, fraction: int) -> None:
    text = f'{{"a": [{number}, "{fraction}", 0.{fraction}]}}'
    if -(2**63) <= number < 2**64:
        assert parse_json(text, "x", strict=False) == parse_json(text, "x") == json.loads(text)
    else:
        for strict in (True, False):
            with refused("64 bits"):
                parse_json(text, "x", strict=strict)


def special(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes(b'"\xe9"')
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "circle").symlink_to("circle")
    return {
        "nothing": (tmp_path / "none", "No such file"),
        "a folder": (tmp_path, "it is a folder"),
        "a named pipe": (tmp_path / "pipe", "not a regular file"),
        "a device": (Path("/dev/zero"), "not a regular file"),
        "below a file": (tmp_path / "latin" / "x", "Not a directory"),
        "a NUL in the name": (tmp_path / "a\0b", "null byte"),
        "a long name": (tmp_path / ("x" * 300), "too long"),
        "a circle of links": (tmp_path / "circle", "symbolic links"),
        "another encoding": (tmp_path / "latin", "not UTF-8"),
        "1 TB": (tmp_path / "large", "bytes"),
    }


def test_files_that_are_none(tmp_path: Path) -> None:
    for name, (path, says) in special(tmp_path).items():
        for reader in (files.read_json, files.read_yaml, files.read_text, lambda path: list(files.json_lines(path))):
            with refused(says):
                reader(path)
                pytest.fail(name)


class Row(schema.Stored):
    id: str
    share: float
    votes: int = 0


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], "should hold a JSON object, but holds list"),
        ({"id": "a"}, "share is missing"),
        ({"id": 1, "share": 1.0}, r"id: .*string \(given: 1\)"),
        ({"id": "a", "share": "1"}, "share: .*number"),
        ({"id": "a", "share": 1.0, "votes": True}, "votes: .*integer"),
        ({"id": "a", "share": 1.0, "votes": 1.5}, "votes: .*integer"),
        ({"id": ["x" * 10_000], "share": 1.0}, "id: .*string"),
    ],
)
def test_types(tmp_path: Path, data: object, says: str) -> None:
    (tmp_path / "row.json").write_text(json.dumps(data))
    with refused(r"row\.json.*" + says):
        schema.read(Row, tmp_path / "row.json")


HOSTILE = ["[", "[1]", "7", "null", "[" * 10_000, '{"a": NaN}', '{"a": 1, "a": 2}', "\x00", '"\\ud800"']


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runs" / "one"
    (folder / "checkpoints").mkdir(parents=True)
    found = recipe.load("sft_unified", model="tiny", hardware="cpu").model_dump(mode="json", exclude_none=True)
    (folder / "recipe.yaml").write_text(files.dump_yaml(found))
    files.write_json(folder / "status.json", {"state": "done", "started": 1.0, "updated": 2.0, "spent": 1.0})
    (folder / "metrics.jsonl").write_text('{"step": 1, "total_steps": 2, "loss": 0.5}\n')
    monkeypatch.chdir(tmp_path)
    return folder


STATUS = [
    {"state": "x"},
    {"state": 7},
    {"started": "x"},
    {"updated": None},
    {"spent": [1]},
    {"pid": "7"},
    {"reason": 7},
]
CHOSEN = [
    {},
    {"scores": {}},
    {"scores": {"1": "x"}},
    {"scores": {"x": 1.0}},
    {"scores": {"2": 1.0}},
    {"best": "1"},
    {"by": 7},
    {"by": "x"},
]


def test_a_damaged_status_is_one_line(run: Path, cli) -> None:
    for text in [*HOSTILE, *(json.dumps({"state": "done", **wrong}) for wrong in STATUS)]:
        (run / "status.json").write_text(text)
        done = cli("status", "one")
        assert done.code == 2 and "status.json" in done.err and done.err.count("\n") == 2, (text[:40], done)


def test_a_damaged_choice_is_one_line(run: Path, cli) -> None:
    good = {"by": "accuracy", "split": "val", "scores": {"1": 0.5}, "best": 1}
    (run / "select.json").write_text(json.dumps(good))
    assert "0.5 (step 1, mtrl select)" in cli("status", "one").out
    for text in [*HOSTILE, *(json.dumps({**good, **wrong} if wrong else {}) for wrong in CHOSEN)]:
        (run / "select.json").write_text(text)
        done = cli("status", "one")
        assert done.code == 2 and "select.json" in done.err and done.err.count("\n") == 2, (text[:40], done)


def test_a_damaged_recipe_is_one_line(run: Path, cli) -> None:
    for text in [
        *(text for text, _ in YAML.values()),
        "[1]",
        "7",
        "",
        "a: 1",
        "method: 7\ntasks: [a]",
        "method: x\ntasks: 7",
    ]:
        (run / "recipe.yaml").write_text(text)
        done = cli("status", "one")
        assert done.code == 2 and "recipe.yaml" in done.err and done.err.count("\n") <= 2, (text[:40], done)


def test_a_log_shows_what_fits(run: Path, cli) -> None:
    """A trainer's log may be torn anywhere, and a loss may be NaN; what is no number of a step is not shown."""
    odd = ['{"step": "x"}', '{"step": null, "loss": 1}', '{"loss": 1}', "[1]", *HOSTILE]
    rows = ['{"step": 3, "total_steps": "x", "loss": [1], "eval_accuracy": "high"}', '{"step": 4, "loss": NaN}']
    (run / "metrics.jsonl").write_text("\n".join([*odd, *rows, '{"step": 5, "lo']))
    done = cli("status", "one")
    assert done.code == 0 and "nan" in done.out and "4/?" in done.out, done
    assert steps.trainers_scores(rundir.Run(run).metrics) == {}


def test_a_damaged_card_is_one_line(tmp_path: Path, cli) -> None:
    card = tmp_path / "data" / "seetrue" / "card.json"
    card.parent.mkdir(parents=True)
    wrong = ["{}", '{"counts": 7, "prompts": {}}', '{"counts": {"test": {"yes": "1"}}, "prompts": {}}']
    for text in [*HOSTILE, *wrong]:
        card.write_text(text)
        done = cli("tables", "1", "--data", tmp_path / "data")
        assert done.code == 2 and "card.json" in done.err and done.err.count("\n") == 2, (text[:40], done)


@pytest.mark.parametrize(
    "line", ["[" * 10_000, '{"response": ' + "9" * 10_000 + "}", '{"response": "\\ud800"}', "[]", "7"]
)
def test_a_hostile_line_of_responses_is_one_line_of_error(cli, tmp_path: Path, line: str) -> None:
    (tmp_path / "r.jsonl").write_text('{"response": "yes", "task": "t", "label": "yes"}\n' + line + "\n")
    done = cli("reward", tmp_path / "r.jsonl")
    assert done.code == 2 and "line 2" in done.err and len(done.err) < 1000


def test_an_error_moves_no_cursor(cli, project: Path) -> None:
    (project / "recipes" / "tasks" / "evil.yaml").write_text('title: t\ncapability: quality\n"\\e[2J\\e[31m": 1\n')
    done = cli("prompts", "evil")
    assert done.code == 2 and "\x1b" not in done.err


@pytest.mark.parametrize("name", ["upstream.yaml", "status.json", "inputs.json"])
def test_a_folder_or_a_circle_of_links_in_the_way_is_one_line(cli, project: Path, name: str) -> None:
    command = ("sft", "sft_unified", "--model", "tiny", "--hardware", "cpu", "--set", "tasks=demo_safety", "--dry-run")
    Path("runs/a", name).mkdir(parents=True)
    Path("runs/b").symlink_to("b")
    for run in ("a", "b"):
        done = cli(*command, "--name", run)
        assert done.code in (1, 2) and f"runs/{run}" in done.err and done.err.count("\n") <= 2, done.err
        assert "Traceback" not in done.err
