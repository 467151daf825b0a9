"""Table 4: our numbers by the benchmarks' own rules, and what is subtracted from what."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtrl.config import published, tasks
from mtrl.config.published import Benchmark
from mtrl.core.errors import UserError
from mtrl.core.schema import validate
from mtrl.demo import releases_pairs
from mtrl.evaluate import predictions, run, scores
from mtrl.evaluate.engines.base import Answer
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.judges import served
from mtrl.evaluate.metrics import mmrb2
from mtrl.paper import beyond, matrix, measures, progress, scored
from mtrl.paper.cell import Place
from tests.unit.releases_fixture import run as convert
from tests.unit.releases_fixture import task_with
from tests.unit.test_tables import texts

DATA, RUNS, PAIRS = Path("data"), Path("runs"), 24
PRESETS = ("--model", "tiny", "--hardware", "cpu")


class Engine:
    """Names the first image, and answers every third request with something that is no verdict."""

    def describe(self) -> dict[str, Any]:
        return {"engine": "test"}

    def answers(self, asked: Iterable[Request], _: Any) -> Iterator[Answer]:
        for number, one in enumerate(asked):
            yield Answer(one, "neither" if number % 3 == 2 else "1", 1, "stop", 0.1)


def figures(rows: int = PAIRS, **more: object) -> dict[str, Any]:
    """A published.yaml of one benchmark."""
    about = {"source": "a page", "metric": "accuracy", "judges": {"Same": 60.0, "Other's": 10.0}}
    given = [
        {**about, "protocol": "the official scorer", "same_as": "mmrb2"},
        {**about, "protocol": "another rule", "judges": {"Third": 90.0}},
    ]
    return {
        "title": "Table 4",
        "benchmarks": {"mmrb2_t2i": {"rows": rows, "ours": ["mmrb2", "accuracy"], "published": given, **more}},
    }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small MMRB2, converted, with figures for a benchmark of its size; the working directory."""
    monkeypatch.chdir(tmp_path)
    releases_pairs.mmrb2(tmp_path / "raw", rows=PAIRS)
    convert(task_with("mmrb2_t2i"), tmp_path / "raw", tmp_path / "data")
    write(figures())
    return tmp_path


def write(content: dict[str, Any]) -> None:
    Path("recipes").mkdir(exist_ok=True)
    Path("recipes/published.yaml").write_text(yaml.safe_dump(content))


def evaluate(name: str = "eval-m", **changes: Any) -> scores.Scores:
    judge = replace(served(name), style="sft", **changes)
    return run.evaluate(judge, ["mmrb2_t2i"], DATA, "test", RUNS / name, 1, None, lambda *_: Engine(), lambda *_: None)


def rows() -> dict[str, dict[str, str]]:
    return texts(beyond.of_runs(RUNS, DATA).rows)


def test_the_official_number_is_next_to_ours_and_only_the_same_protocol_is_subtracted(home: Path) -> None:
    numbers = evaluate().tasks["mmrb2_t2i"]
    found = predictions.load(RUNS / "eval-m").rows
    official = mmrb2.official(found)
    assert official.judged == 2 * PAIRS * 2 // 3 and official.accuracy is not None
    assert numbers.accuracy != pytest.approx(official.accuracy)  # an invalid answer is wrong there, left out here
    shown, ours = rows(), 100 * official.accuracy
    assert shown["mmrb2_t2i, ours: official scorer"]["Off-the-shelf"].startswith(f"{ours:.2f} [")
    assert shown["mmrb2_t2i, ours: accuracy"]["Off-the-shelf"].startswith(f"{100 * numbers.accuracy:.2f} [")
    assert shown["mmrb2_t2i, ours: invalid answers"]["Off-the-shelf"] == f"{100 * numbers.invalid_rate:.2f}"
    same = shown["mmrb2_t2i: Same"]
    assert same == {"published": "60.00 (1)", "Off-the-shelf": same["Off-the-shelf"]}
    assert same["Off-the-shelf"].rstrip("*") == f"{ours - 60:+.2f}"
    assert shown["mmrb2_t2i: Other's"]["Off-the-shelf"] == f"{ours - 10:+.2f}*"  # outside the interval
    assert shown["mmrb2_t2i: Third"] == {"published": "90.00 (2), other protocol", "Off-the-shelf": ""}
    notes = beyond.of_runs(RUNS, DATA).notes
    assert "(1) a page: accuracy; the official scorer" in notes and "(2) a page: accuracy; another rule" in notes
    assert any(f"leaves out {2 * PAIRS // 3} of {2 * PAIRS} answers" in note for note in notes)


def test_numbers_of_other_rows_are_marked_and_not_subtracted(home: Path) -> None:
    write(figures(rows=1000))
    evaluate()
    shown = rows()
    assert "†" in shown["mmrb2_t2i, ours: official scorer"]["Off-the-shelf"]
    assert shown["mmrb2_t2i: Same"]["Off-the-shelf"] == ""
    assert f"of {PAIRS} rows; the benchmark has 1,000" in " ".join(beyond.of_runs(RUNS, DATA).notes)


def test_metrics_alone_have_no_official_number(home: Path) -> None:
    evaluate()
    (RUNS / "eval-m" / "predictions.jsonl").unlink()
    shown = rows()
    assert shown["mmrb2_t2i, ours: official scorer"]["Off-the-shelf"] == "-"
    assert shown["mmrb2_t2i: Same"]["Off-the-shelf"] == ""
    accuracy = shown["mmrb2_t2i, ours: accuracy"]["Off-the-shelf"]
    assert accuracy[0].isdigit() and "[" not in accuracy


def test_every_format_has_it_and_the_default_once_a_judge_is_in_it(home: Path, cli) -> None:
    assert "Table 4" not in cli("tables").out
    empty = cli("tables", 4)
    assert empty.code == 0 and "mmrb2_t2i: Third" in empty.out and "mtrl reproduce table4 --raw raw" in empty.out
    evaluate()
    assert "other protocol" in cli("tables").out
    text = cli("tables", 4, "--format", "markdown").out
    assert "| mmrb2_t2i: Third | 90.00 (2), other protocol |  |" in text and "- (2) a page" in text
    latex = cli("tables", 4, "--format", "latex").out
    assert r"mmrb2\_t2i: Third & 90.00 (2), other protocol" in latex and latex.count("&") % 2 == 0


def test_a_table_file_without_the_papers_tables_is_enough(home: Path, cli) -> None:
    Path("recipes/paper.yaml").write_text("table2: {title: Mine, columns: [mmrb2_t2i], rows: {zero_shot: }}\n")
    evaluate()
    done = cli("tables")
    assert done.code == 0 and done.out.index("Mine") < done.out.index("Table 4") < done.out.index("Every evaluation")


def test_reproduce_scores_what_is_converted(home: Path, cli) -> None:
    done = cli("reproduce", "table4", *PRESETS, "--dry-run")
    assert done.code == 0, done.err
    asked = next(line for line in done.out.splitlines() if line.startswith("mtrl eval "))
    assert "--tasks mmrb2_t2i " in asked
    assert "3 cells: 0 done, 3 left" in done.out
    found = matrix.cells(4, "tiny", "cpu", [], [], Place(DATA, RUNS))
    assert [cell.label for cell in found] == ["zero_shot", "sft_unified", "rl_multitask"]
    assert {cell.columns for cell in found} == {("mmrb2_t2i",)}
    assert list(progress.summary(4, found, DATA).rows.columns)[1:] == ["Off-the-shelf", "SFT-Unified", "MT-RL-Judge"]
    (DATA / "mmrb2_t2i" / "card.json").unlink()
    done = cli("reproduce", "table4", *PRESETS)
    assert done.code == 2 and "none of Table 4's benchmarks is converted" in done.err
    assert "mtrl convert all --raw raw --out data" in done.err


def test_several_seeds_have_a_mean_and_a_spread(home: Path) -> None:
    both = [scored.of(evaluate(name), "mmrb2_t2i", DATA) for name in ("a", "b")]
    row = beyond.Row("Ours", "sft_unified", [{"mmrb2_t2i": one} for one in both])
    cells = texts(beyond.build([row]).rows)
    assert cells["mmrb2_t2i, ours: accuracy"]["Ours"].split(" †")[0].endswith("± 0.00 (2)")


def test_a_number_needs_what_it_is_of() -> None:
    with pytest.raises(UserError, match="same_as: mmrb2 needs it under ours, and rows"):
        validate(Benchmark, {**figures()["benchmarks"]["mmrb2_t2i"], "ours": ["accuracy"]}, "file")
    with pytest.raises(UserError, match="unknown key 'metrics'"):
        validate(Benchmark, {"ours": ["accuracy"], "published": [], "metrics": 1}, "file")


def test_the_shipped_figures_fit_their_tasks() -> None:
    about = published.beyond()
    assert set(about.benchmarks) == set(yaml.safe_load(Path("recipes/published.yaml").read_text())["benchmarks"])
    for name, benchmark in about.benchmarks.items():
        kind = tasks.load(name).kind
        correlations = {"srcc", "plcc", "graded_srcc", "graded_plcc"}
        assert (kind == "score") == bool(correlations & set(benchmark.ours)), name
        assert ("mmrb2" in benchmark.ours) == name.startswith("mmrb2"), name
        for group in benchmark.published:
            assert all(0 <= value <= 100 for value in group.judges.values())
            assert group.same_as is None or name == "mmrb2_t2i"  # the only rule and rows that are the same
    backbone = about.benchmarks["mmrb2_t2i"].published[0].judges
    assert backbone["Qwen3-VL-30B-A3B"] == 60.0


def test_correlations_come_from_the_metrics(tmp_path: Path) -> None:
    from tests.unit.metrics_fixture import task_metrics

    number = {"value": 0.5, "ci95": [0.4, 0.6]}
    worst = {**number, "worst": 0.1}
    score = {"valid": 9, **dict.fromkeys(("srcc", "plcc", "kendall", "kappa", "mae"), worst)}
    task = task_metrics(score=score, invalid_rate=0.1)
    content = {"schema": 2, "method": "zero_shot", "checkpoint": "m", "votes": 1, "agiqa_quality": task}
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    one = scored.of(scores.read(tmp_path / "metrics.json"), "agiqa_quality", tmp_path)
    assert measures.of(one, "srcc").value == 0.5 and measures.of(one, "graded_srcc") == measures.NONE
    assert measures.left_out(one, "srcc").startswith("1 of 10 answers")
