"""The example at the end of each verb's help: it is shown line by line, its command parses, and it prints
what it says.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import typer

from mtrl.cli import app
from mtrl.commands.examples import EXAMPLES
from mtrl.evaluate import judged_set, labelling
from tests.unit.test_estimate import jsonl, judged, table

VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
TRAINED = {
    "sift",
    "sft",
    "status",
    "select",
    "export",
    "eval",
    "judge",
    "score",
    "compare",
    "demo",
    "certify",
    "study",
    "probe",
    "serve",
}  # need a model
RUN = sorted(set(EXAMPLES) - TRAINED - {"doctor"})  # whose output is this machine's


def parts(verb: str) -> tuple[list[str], list[str]]:
    """The words of the command after `mtrl`, and the lines shown below it."""
    command, *shown = EXAMPLES[verb].replace("\\\n", " ").splitlines()
    assert command.startswith("$ mtrl "), command
    return shlex.split(command)[2:], shown


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_ends_with_an_example_line_by_line(verb: str, cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = EXAMPLES[verb].splitlines()
    assert 3 <= len(lines) <= 7 and all(len(line) <= 78 for line in lines)
    printed = "\n".join(line.strip() for line in cli(verb, "--help").out.splitlines())
    assert printed.rstrip().endswith("\n".join(line.strip() for line in lines))
    words, _ = parts(verb)
    VERBS[verb].make_context(verb, words[1:])  # raises for an option or value that is not one
    assert words[0] == verb


@pytest.fixture
def answers(project: Path) -> None:
    """What the examples find in the demo's folder besides its data."""
    rows = [
        {"task": "demo_quality", "label": "yes", "response": text}
        for text in ("<think>It is whole.</think><answer>yes</answer>", "yes")
    ]
    Path("answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with open("recipes/tasks/demo_quality.yaml", "a") as file:
        file.write(
            "expected: {train: {rows: 500, positive: 257, negative: 243},"
            " val: {rows: 100, positive: 46, negative: 54}, test: {rows: 200, positive: 103, negative: 97}}\n"
        )
    Path("photos").mkdir()
    Path("photos/labels.csv").write_text("image,label\na.jpg,good\nb.jpg,bad\n")
    rows, truth = judged(images=5000)
    drawn = labelling.order(judged_set.read(jsonl(rows)).tasks["photo"], 0)[:200]
    table(((row.id, truth[row.id], 0) for row in drawn), ("id", "label", "seed"), "label.csv")


@pytest.mark.parametrize("verb", [verb for verb in RUN if verb != "tables"])
def test_an_example_prints_what_it_shows(verb: str, answers: None, cli) -> None:
    words, shown = parts(verb)
    done = cli(*words)
    assert done.code == 0, done.err
    printed = " ".join(done.out.split())
    for line in shown:
        for piece in line.split("..."):
            wanted = " ".join(piece.split())
            before, found, printed = printed.partition(wanted) if wanted else ("", "...", printed)
            assert found, f"{wanted!r} is not in\n{before}"
