"""A converter named by path: the example of docs/own-task.md, word for word; its errors; and whose code is
never run.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from mtrl.config import task_files, tasks
from mtrl.converters.checks import fit
from mtrl.converters.pipeline.convert import convert
from mtrl.core.errors import UserError
from mtrl.core.files import read_json
from mtrl.demo.releases import blocks, encoded
from tests.conftest import ROOT, mtrl

PAGE = (ROOT / "docs" / "own-task.md").read_text(encoding="utf-8")
NAME, FILE = "mybench", Path("mybench.py")
VOTES = [[1, 0, 1], [0, 0, 1], [1, 1], [0]] * 15
DIVIDES = next(
    n for n, line in enumerate(PAGE.partition("```python\n")[2].splitlines(), start=1) if "sum(photo" in line
)


def block(kind: str, heading: str = "## A release that is not a table") -> str:
    """The first block of that kind below a heading of the page; "" is an indented one."""
    below = PAGE.partition(f"{heading}\n")[2]
    found = re.search(rf"```{kind}\n(.*?)```", below, re.DOTALL) if kind else re.search(r"((?:    .*\n)+)", below)
    assert found, f"{heading} has no {kind} block"
    return found[1]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example's files as the page has them, and a release of sixty images; the working directory."""
    home = tmp_path / "home"
    asks = [line.strip() for line in block("", "## Prompts").splitlines()]
    for style, text in zip(("sft", "rl"), asks, strict=True):
        (home / "prompts" / style).mkdir(parents=True)
        (home / f"prompts/{style}/{NAME}.jinja").write_text(text)
    (home / "recipes/tasks").mkdir(parents=True)
    (home / f"recipes/tasks/{NAME}.yaml").write_text(block("yaml"))
    (home / FILE).write_text(block("python"))
    (home / "raw" / NAME / "images").mkdir(parents=True)
    for n in range(len(VOTES)):
        (home / f"raw/{NAME}/images/{n}.png").write_bytes(encoded(blocks(3)(n), "PNG"))
    monkeypatch.chdir(home)
    annotate(VOTES)
    return home


def annotate(all_votes: list[list[int]], **change: object) -> None:
    photos = [{"id": n, "file": f"{n}.png", "caption": f"Room {n}.", "votes": of} for n, of in enumerate(all_votes)]
    photos[0].update(change)
    Path(f"raw/{NAME}/annotations.json").write_text(json.dumps({"images": photos}))


def counts() -> dict[str, int]:
    found = read_json(Path(f"data/{NAME}/card.json"))["counts"].values()
    return {verdict: sum(split[verdict] for split in found) for verdict in ("yes", "no")}


def test_the_example_of_the_page_converts(cli, bench: Path) -> None:
    done = mtrl("convert", NAME, "--raw", "raw", cwd=bench)
    assert done.code == 0 and "warning" not in done.out, done.err
    assert counts() == {"yes": 30, "no": 30}
    rows = [row for split in tasks.SPLITS for row in read_json(Path(f"data/{NAME}/sft_{split}.json"))]
    assert sorted(row["id"] for row in rows) == sorted(map(str, range(60)))
    assert any("It shows: Room 3." in row["messages"][0]["content"] for row in rows)
    assert cli("check", NAME).code == 0
    assert not list(bench.glob("__pycache__"))


def test_what_it_reads_and_its_own_code_are_compared(cli, bench: Path) -> None:
    def again() -> bool:
        done = cli("convert", NAME, "--raw", "raw")
        assert done.code == 0, done.err
        return "nothing has changed" not in done.out

    assert again() and not again()
    annotate([[0]] * 60)
    assert again() and counts() == {"yes": 0, "no": 60} and not again()
    FILE.write_text(block("python").replace("sum(photo", "1 + sum(photo"))
    assert again() and counts() == {"yes": 60, "no": 0} and not again()
    FILE.write_text(FILE.read_text().replace('photo["caption"]', 'Path("more.txt").read_text()'))
    Path("more.txt").write_text("A")
    assert again() and not again()
    Path("more.txt").write_text("B")  # a file that no row names: what it changes in the rows is seen
    assert again() and not again()


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import nosuch\n", "mybench.py, line 1: ModuleNotFoundError: No module named 'nosuch'"),
        ("\n\ndef rows(:\n", "mybench.py, line 3: SyntaxError: invalid syntax"),
        ("raise SystemExit(0)\n", "mybench.py, line 1: SystemExit: 0"),
        ("other = 1\n", "has no function rows(task, raw)"),
        ("def rows(task, raw):\n    x = {}\n    yield x['a']\n", "mybench.py, line 3: KeyError: 'a'"),
        ("def rows(task, raw):\n    return [1]\n", "converter ./mybench.py gives 1; a Row was expected"),
        ("def rows(task):\n    return []\n", "TypeError: rows() takes 1 positional argument"),
        ("def rows(task, raw):\n    return None\n", "TypeError: 'NoneType' object is not iterable"),
        ("def rows(task, raw):\n    return []\n", "the release in raw has no rows"),
    ],
)
def test_what_is_wrong_with_it_is_the_users_error(cli, bench: Path, code: str, says: str) -> None:
    FILE.write_text(code)
    done = cli("convert", NAME, "--raw", "raw")
    assert done.code == 2 and says in done.err and "Traceback" not in done.err, done.err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"caption": None}, "row 0: fields.caption is None; text was expected"),
        ({"file": "gone.png"}, "1 of 60 images are missing"),
        ({"file": "../secret.png"}, "annotations.json, image 0: image '../secret.png' is not a file name below"),
        ({"id": 7}, "1 ids are used more than once, the first is '7'"),
        ({"votes": []}, f"mybench.py, line {DIVIDES}: ZeroDivisionError"),
    ],
)
def test_what_is_wrong_with_a_row_is_named(cli, bench: Path, change: dict[str, object], says: str) -> None:
    annotate(VOTES, **change)
    done = cli("convert", NAME, "--raw", "raw")
    assert done.code == 2 and says in done.err, done.err


def test_it_is_a_file_below_the_working_directory(cli, bench: Path) -> None:
    known = tasks.load(NAME).model_dump(exclude_unset=True)
    for path in ("/etc/passwd", "/tmp/x.py", "../x.py", "a/../../x.py", "./mybench", "mtrl.core", ""):
        with pytest.raises(ValueError, match=r"such as \./mybench\.py"):
            tasks.Task.model_validate({**known, "converter": path})
    Path("tools").mkdir()
    FILE.rename("tools/mybench.py")
    done = cli("convert", NAME, "--raw", "raw")
    assert done.code == 2 and f"there is no converter {bench}/mybench.py" in done.err
    yaml = Path(f"recipes/tasks/{NAME}.yaml")
    yaml.write_text(yaml.read_text().replace("./mybench.py", "tools/mybench.py"))
    assert cli("convert", NAME, "--raw", "raw").code == 0
    done = cli("fit-labels", NAME, "--raw", "raw")
    assert done.code == 2 and "no `expected` counts" in done.err
    yaml.write_text(yaml.read_text() + "expected: {test: {rows: 1, positive: 1, negative: 0}}\n")
    done = cli("fit-labels", NAME, "--raw", "raw")
    assert done.code == 2 and "has no function labels(task, raw)" in done.err


def test_a_task_of_an_export_runs_no_code(cli, bench: Path) -> None:
    """Not the export's own, and not a file of that name here."""
    assert cli("convert", NAME, "--raw", "raw").code == 0
    home = bench / "export" / task_files.FOLDER
    task_files.write([tasks.load(NAME)], home)
    assert not list(home.rglob("*.py"))
    shutil.copy(FILE, home / FILE)
    for file in (FILE, home / FILE):
        file.write_text("open('ran', 'w')\n")
    task = tasks.load(NAME, home)
    for run in (lambda: convert(task, Path("raw"), Path("other")), lambda: fit.release.labels(task, Path("raw"))):
        with pytest.raises(UserError, match="code of an export is never run"):
            run()
    for words in (["check", NAME], ["prompts", NAME], ["tasks"], ["plan", "sft_unified", "--set", f"tasks={NAME}"]):
        cli(*words)
    assert not list(bench.rglob("ran"))
