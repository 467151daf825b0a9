"""A sift: several votes per training row, numbers from its predictions, and what is refused."""

from __future__ import annotations

import csv
import hashlib
import json
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mtrl.backends import row_plan
from mtrl.commands import sift as sift_command
from mtrl.config import prompting, samples, task_files
from mtrl.core.errors import UserError
from mtrl.demo.walkthrough import tiny
from mtrl.evaluate import judges, predictions, run, sift, suspects
from mtrl.evaluate.engines.base import Answer, Sampling
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.html import suspects_page
from tests.conftest import mtrl
from tests.unit.standin import completion, standin
from tests.unit.test_scored import judge

DATA, OUT = Path("data"), Path("runs/s")
TASKS = ("demo_quality", "demo_pairs")
SAID = "<think>It looks so.</think><answer>{}</answer>"
VOTES = 4


def right(request: Request) -> int:
    """How many of the votes on a row are right: 0 to VOTES."""
    return hashlib.sha256(request.id.encode()).digest()[0] % (VOTES + 1)


class Votes:
    """An engine that answers right in the first `right` votes on a row, and invalid in the others."""

    def __init__(self, most: int | None = None) -> None:
        self.most, self.asked, self.sampling = most, 0, None

    def describe(self) -> dict[str, Any]:
        return {"engine": "test"}

    def answers(self, asked: Iterable[Request], sampling: Sampling) -> Iterator[Answer]:
        self.sampling = sampling
        for one in asked:
            if self.asked == self.most:
                raise KeyboardInterrupt
            self.asked += 1
            yield Answer(one, SAID.format(one.label) if one.vote < right(one) else "perhaps", 9, "stop", 0.1)


def ask(
    *names: str, engine: Any = None, votes: int = VOTES, limit: int | None = 20, name: str = "m", **more: Any
) -> Any:
    engine, of = engine or Votes(), judge(name, style="rl")
    how = {"sift": True, **more}
    run.ask(of, list(names or TASKS), DATA, "train", OUT, votes, limit, lambda *_: engine, lambda *_: None, **how)
    return engine


def prompts(*names: str) -> dict[str, str]:
    return {name: prompting.sha256(task_files.load(name, None), "rl") for name in names}


def test_every_training_row_has_its_votes_in_the_order_it_is_trained_in(project: Path) -> None:
    pairs = [replace(one, split="train") for one in samples.read(DATA, "demo_pairs", "test")]
    samples.write(samples.path_of(DATA, "demo_pairs", "train"), pairs)  # the demo has no pairs to train on
    Path("data/demo_pairs/inputs.json").unlink()
    engine = ask()
    assert engine.asked == 2 * 20 * VOTES and engine.sampling
    assert (engine.sampling.temperature, engine.sampling.top_p) == (1.0, 1.0)
    found = sift.load(OUT)
    for name in TASKS:
        rows, there = found.rows[name], sorted(list(samples.read(DATA, name, "train"))[:20], key=lambda one: one.id)
        assert [(row.id, row.label) for row in rows] == [(one.id, one.answer) for one in there]
        for row, of in zip(rows, there, strict=True):
            share = hashlib.sha256(of.id.encode()).digest()[0] % (VOTES + 1)
            assert (row.votes, row.right, row.invalid) == (VOTES, share, VOTES - share)
            assert row.pass_rate == share / VOTES and row.interval[0] <= row.pass_rate <= row.interval[1]
            assert len(found.traces[name].get(row.id, [])) == share
        assert all(row.order == "given" for row in predictions.load(OUT, purpose="sift").rows)
    assert not (OUT / "metrics.json").exists()  # tables must not take it for an evaluation


def test_the_interval_is_wilsons() -> None:
    """By its formula, z = 1.96: of 8 votes 1 right, and none."""
    z = 1.959963984540054
    for k, n in ((1, 8), (0, 8), (8, 8)):
        p = k / n
        half = z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
        low, high = ((p + z * z / (2 * n) + sign * half) / (1 + z * z / n) for sign in (-1, 1))
        assert sift.wilson(k, n) == pytest.approx((low, high), abs=1e-9)


def test_an_unfinished_sift_is_refused_and_continues(project: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        ask("demo_quality", engine=Votes(most=30))
    with pytest.raises(UserError, match="not finished: 30 of 80 votes on task demo_quality"):
        sift.load(OUT)
    assert ask("demo_quality").asked == 50
    assert len(sift.load(OUT).rows["demo_quality"]) == 20


def test_another_sift_or_an_evaluation_in_the_same_folder_is_refused(project: Path) -> None:
    ask("demo_quality")
    with pytest.raises(UserError, match="different now: sampling"):
        ask("demo_quality", votes=VOTES + 1)
    with pytest.raises(UserError, match="is a sift of training rows, not an evaluation"):
        ask("demo_quality", sift=False)
    with pytest.raises(UserError, match="different now: checkpoint"):
        ask("demo_quality", name="another")
    with pytest.raises(UserError, match="demo_quality: limit"):
        ask("demo_quality", limit=30)


def test_a_sift_is_no_evaluation_and_an_evaluation_is_no_sift(project: Path, cli) -> None:
    ask("demo_quality")
    for command in (["score", OUT], ["compare", OUT, OUT]):
        done = cli(*command)
        assert done.code == 2 and "is a sift of training rows, not an evaluation" in done.err
    (OUT / "predictions.jsonl").rename("kept.jsonl")
    identity = json.loads((OUT / "eval.json").read_text())
    del identity["sift"]
    (OUT / "eval.json").write_text(json.dumps(identity))
    with pytest.raises(UserError, match="is an evaluation, not a sift"):
        sift.load(OUT)
    with pytest.raises(UserError, match="is an evaluation, not a sift"):
        ask("demo_quality")


def test_a_sift_that_does_not_fit_a_recipe_is_refused(project: Path) -> None:
    ask("demo_quality", limit=None)
    found, fine = sift.load(OUT), prompts("demo_quality")
    sift.check(found, fine, DATA, "m", "rl")
    for given, said in (
        ((prompts("demo_quality", "demo_safety"), DATA, "m", "rl"), "it has no task demo_safety"),
        (({"demo_quality": "0" * 64}, DATA, "m", "rl"), "demo_quality was asked with another prompt"),
        ((fine, DATA, "other", "rl"), "it is of another model, m"),
        ((fine, DATA, "m", "sft"), "asked in the style rl, not sft"),
    ):
        with pytest.raises(UserError, match=said):
            sift.check(found, *given)
    file = samples.path_of(DATA, "demo_quality", "train")
    rows = list(samples.read(DATA, "demo_quality", "train"))
    samples.write(file, rows[1:])
    with pytest.raises(UserError, match="demo_quality had other rows or labels in data"):
        sift.check(found, fine, DATA, "m", "rl")


SCRIPT = "</script><script>document.title='run'</script>"


def against(votes: int, of: int = 8, label: str = "yes") -> sift.RowVotes:
    """A row with so many of its votes for no, the others for yes."""
    said, agree = ("no", votes) if 2 * votes > of else ("yes", of - votes)
    return sift.RowVotes("t", "a", label, of, of - votes, 0, said, agree)


def test_a_label_is_suspected_where_another_verdict_surely_has_most_votes() -> None:
    assert [against(votes).suspect for votes in range(9)] == [False] * 7 + [True] * 2
    assert [against(votes, label="no").suspect for votes in range(9)] == [True] * 2 + [False] * 7
    assert [sift.needed(votes) for votes in (2, 3, 4, 8, 16)] == [None, None, 4, 7, 12]
    assert not sift.RowVotes("t", "a", "yes", 8, 0, 8, "invalid", 8).suspect  # it says nothing about the label
    assert not sift.RowVotes("t", "a", "1", 8, 0, 0, "2", 4).suspect  # of several verdicts none has most


def test_the_summary_counts_rows_and_votes() -> None:
    rows = [against(0), against(8), against(4), against(1)]
    found = sift.summary([row._replace(id=str(n)) for n, row in enumerate(rows)])
    assert (found.rows, found.all_right, found.none_right, found.between, found.suspects) == (4, 1, 1, 2, 1)
    assert found.right.value == pytest.approx((1 + 0 + 0.5 + 0.875) / 4) and found.constant == 1 and not found.learnt
    low, high = found.right.ci95 or (1.0, 0.0)
    assert low < found.right.value < high
    together = sift.summary([row._replace(id=str(n), cluster="one") for n, row in enumerate(rows)])
    assert together.right.ci95 is None  # rows of one cluster are no independent rows


class Against:
    """An engine that is against the labels of some rows, with a text that a page must not run."""

    def __init__(self, *ids: str) -> None:
        self.ids = ids

    def describe(self) -> dict[str, Any]:
        return {"engine": "test"}

    def answers(self, asked: Iterable[Request], _: Sampling) -> Iterator[Answer]:
        for one in asked:
            (other,) = {"yes", "no"} - {one.label}
            said = other if one.id in self.ids and one.vote else one.label
            yield Answer(one, f"<think>{SCRIPT}</think><answer>{said}</answer>", 9, "stop", 0.1)


def test_suspected_labels_are_a_table_and_a_page(project: Path) -> None:
    of = list(samples.read(DATA, "demo_quality", "train"))[:20]
    wrong = [of[11], of[3]]
    ask("demo_quality", engine=Against(*(one.id for one in wrong)), votes=8)
    found = predictions.load(OUT, purpose="sift")
    sifted = sift.of(found, OUT)
    with suspects.write(OUT, sifted, DATA).open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["id"] for line in lines} == {one.id for one in wrong}
    for line in lines:
        (sample,) = [one for one in wrong if one.id == line["id"]]
        assert (line["label"], line["share"], line["label_share"]) == (sample.answer, "0.875", "0.125")
        assert line["verdict"] != sample.answer and Path(line["images"]).is_file() and line["votes"] == "8"
    text = suspects_page.write(OUT, found, sifted, DATA).read_text()
    assert SCRIPT not in text and all(one.id in text for one in wrong) and of[0].id not in text
    assert "at least 7 of its 8 votes" in text and "A person decides" in text


def test_a_page_without_suspects_and_one_of_too_few_votes(project: Path) -> None:
    ask("demo_quality", engine=Against(), votes=3)
    found = predictions.load(OUT, purpose="sift")
    text = suspects_page.write(OUT, found, sift.of(found, OUT), DATA).read_text()
    assert "3 votes per row are too few to list a row" in text
    assert suspects.write(OUT, sift.of(found, OUT), DATA).read_text().count("\n") == 1


def test_a_sift_of_the_first_rows_does_not_fit_all_rows(project: Path) -> None:
    ask("demo_quality")
    with pytest.raises(UserError, match="with --limit 20: the other rows have no votes"):
        sift.check(sift.load(OUT), prompts("demo_quality"), DATA, "m", "rl")
    (line,) = sift_command._next(sift.load(OUT), OUT, False, DATA)
    assert line.startswith("mtrl sift --ckpt m --tasks demo_quality --votes ") and line.endswith(f" --out {OUT}-2")
    assert "--limit" not in line
    assert " --limit 20 " in row_plan._continued(OUT, DATA)


def test_the_next_command_plans_rl_on_the_rows_in_between(project: Path) -> None:
    engine = Votes()
    tiny_model = judges.subject(str(tiny()), "rl")
    run.ask(
        tiny_model, ["demo_quality"], DATA, "train", OUT, VOTES, None, lambda *_: engine, lambda *_: None, sift=True
    )
    (line,) = sift_command._next(sift.load(OUT), OUT, served=False, data=DATA)
    assert line.startswith("mtrl plan rl_multitask --tasks demo_quality --model tiny")
    words = shlex.split(line)[1:]
    done = mtrl(*words, "--hardware", "cpu", cwd=project)
    assert done.code == 0, done.out + done.err
    assert "rl.keep_pass_rate 0.1 to 0.9 keeps" in done.out
    assert not list(sift_command._next(sift.load(OUT), OUT, served=True, data=DATA))
    found = sift.load(OUT)
    always = {name: [row._replace(right=row.votes) for row in rows] for name, rows in found.rows.items()}
    assert not list(sift_command._next(found._replace(rows=always), OUT, served=False, data=DATA))  # none is between


def test_the_command_asks_and_says_what_it_found(project: Path, cli) -> None:
    with standin(lambda number, _: completion(SAID.format("yes"))) as server:
        where = ("--endpoint", server.url, "--served-model", "m", "--limit", 3, "--votes", 2)
        assert "pass --tasks NAME,NAME" in cli("sift", *where).err
        done = cli("sift", *where, "--tasks", "demo_quality")
        assert done.code == 0, done.err
        again = cli("sift", *where, "--tasks", "demo_quality")
    assert again.code == 0 and len(server.asked) == 6
    assert {(body["temperature"], body["top_p"]) for body in server.asked} == {(1.0, 1.0)}
    assert "suspects.csv" in done.out and "too few to suspect a label" in done.out
    assert "has not learnt the task" in done.out and "next:" not in done.out  # whose model a server has is not known
    assert len(sift.load(Path("runs/sift-m")).rows["demo_quality"]) == 3
