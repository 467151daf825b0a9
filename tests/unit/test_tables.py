"""What may become a cell of Table 2 or 3: the whole test split, one greedy answer an item."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pandas import DataFrame

from mtrl.config import samples
from mtrl.config.samples import Sample
from mtrl.evaluate.metrics import task as metrics
from mtrl.paper import results
from tests.unit.metrics_fixture import task_metrics


def result(**task: object) -> dict:
    confusion = {"yes": {"yes": 150, "no": 150, "invalid": 0}, "no": {"yes": 50, "no": 50, "invalid": 0}}
    cell = task_metrics(**{"confusion": confusion, **task})
    return {"schema": metrics.SCHEMA, "method": "zero_shot", "checkpoint": "m", "votes": 1, "seetrue": cell}


def texts(frame: DataFrame) -> dict[str, dict[str, str]]:
    """A block of a table: row -> column -> what is printed."""
    return {str(row): {str(column): str(cell) for column, cell in cells.items()} for row, cells in frame.iterrows()}


def write(folder: Path, content: dict) -> None:
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(content))


@pytest.mark.parametrize("odd", [{"split": "train"}, {"limit": 20}])
def test_a_part_is_no_cell_and_is_named(tmp_path: Path, odd: dict) -> None:
    write(tmp_path / "whole", result(macro_f1=0.7, macro_f1_ci95=[0.6, 0.75]))
    write(tmp_path / "part", result(**odd))
    found = results.of_runs(2, tmp_path)
    cell = texts(found.rows)["Off-the-shelf"]["seetrue"]
    assert cell.startswith("70.00 [60.0, 75.0]") and "paper 80.01 (-10.01)*" in cell
    assert any("part" in line for line in found.passed_over)


def test_votes_are_no_cell(tmp_path: Path) -> None:
    write(tmp_path / "votes", {**result(), "votes": 5})
    assert texts(results.of_runs(2, tmp_path).rows)["Off-the-shelf"]["agin_nat"].startswith("-")


def test_the_mean_needs_every_column(tmp_path: Path) -> None:
    write(tmp_path / "one", result())
    found = results.of_runs(2, tmp_path)
    assert texts(found.rows)["Off-the-shelf"]["mean"] == "-\npaper 67.31"
    assert [round(float(cells["mean"].split("paper ")[1]), 2) for cells in texts(found.rows).values()] == [
        67.31,
        78.23,
        79.91,
        79.90,
        79.74,
    ]


def test_a_metrics_file_of_another_schema_is_passed_over_and_named(tmp_path: Path, cli) -> None:
    write(tmp_path / "old", {**result(), "schema": 1})
    write(tmp_path / "none", {"eval_loss": 0.1})
    write(tmp_path / "torn", {})
    (tmp_path / "torn" / "metrics.json").write_text('{"schema": 2, "meth')
    write(tmp_path / "hand", {**result(), "seetrue": {k: v for k, v in task_metrics().items() if k != "macro_f1_ci95"}})
    done = cli("tables", 2, "--runs", tmp_path)
    assert done.code == 0, done.err
    lines = " ".join(done.out.split())
    assert (
        f"not in the table: {tmp_path}/old/metrics.json: of schema 1; this mtrl reads schema {metrics.SCHEMA}" in lines
    )
    assert f"{tmp_path}/none/metrics.json" in lines and f"{tmp_path}/torn/metrics.json is not valid JSON" in lines
    assert "hand: seetrue (macro_f1_ci95 is missing" in lines
    row = next(line for line in done.out.splitlines() if "Off-the-shelf" in line)
    assert set(row.replace("Off-the-shelf", "")) == set(" │-")  # none of them became a cell


def test_nothing_run_yet_shows_the_commands(tmp_path: Path, cli) -> None:
    done = cli("tables", 2, "--runs", tmp_path / "runs", "--data", tmp_path / "data")
    assert done.code == 0 and f"mtrl rl --data {tmp_path / 'data'} --runs" in done.out
    assert "recipes/rl_multitask.yaml" in done.out and "--ckpt Qwen/" in done.out
    assert "majority class" not in done.out  # no labels are known


def test_baselines_and_invalid_rates_are_below_the_rows(tmp_path: Path) -> None:
    write(tmp_path / "runs" / "one", result(invalid_rate=0.015))
    data = tmp_path / "data"
    for name, counts in {"agin_nat": {"yes": 300, "no": 305}, "mjbench_alignment": {"1": 643, "2": 86}}.items():
        (data / name).mkdir(parents=True)
        (data / name / "card.json").write_text(json.dumps({"counts": {"test": counts}, "prompts": {}}))
    found = results.of_runs(2, tmp_path / "runs", data)
    extra = texts(found.extra)
    majority = extra["majority class"]
    assert majority["seetrue"] == "42.86 (accuracy 75.0)"  # 300 of the 400 labels are yes: F1 of yes 6/7, of no 0
    assert majority["agin_nat"] == "33.52 (accuracy 50.4)" and majority["mean"] == ""
    assert majority["agin_tech"] == "-"
    assert extra["invalid: Off-the-shelf"]["seetrue"] == "1.50"
    assert "always first" not in extra
    pairs = results.of_runs(3, tmp_path / "runs", data)
    assert list(texts(pairs.extra)["always first"].values()) == ["46.87 (accuracy 88.2)", "-", ""]
    assert "always first, as released" not in texts(pairs.extra)  # the samples are not here


def test_always_first_is_also_shown_in_the_order_of_the_release(tmp_path: Path) -> None:
    def pair(number: int) -> Sample:  # all labels of the release are 1; every second pair is shown the other way round
        swapped = number % 2 == 1
        answer = "2" if swapped else "1"
        images = (f"a{number}", f"b{number}")
        return Sample(
            str(number), "mjbench_safety", "pairwise", images, {}, answer, "test", source={"swapped": swapped}
        )

    samples.write(samples.path_of(tmp_path, "mjbench_safety", "test"), map(pair, range(10)))
    (tmp_path / "mjbench_safety" / "card.json").write_text(
        json.dumps({"counts": {"test": {"1": 5, "2": 5}}, "prompts": {}})
    )
    found = results.of_runs(3, tmp_path / "runs", tmp_path)
    extra = texts(found.extra)
    assert extra["always first"]["mjbench_safety"] == "33.33 (accuracy 50.0)"
    assert extra["always first, as released"]["mjbench_safety"] == "50.00 (accuracy 100.0)"


def test_accuracy_stands_next_to_macro_f1_for_pairs(tmp_path: Path, cli) -> None:
    """The metric of the paper's Table 3 is not named there, so ours is shown by both, and the footnote says why."""
    about = result()
    pairs = {**about.pop("seetrue"), "accuracy": 0.625, "confusion": {"1": {"1": 5, "2": 3}, "2": {"1": 0, "2": 0}}}
    write(tmp_path / "one", {**about, "mjbench_safety": pairs})
    found = results.of_runs(3, tmp_path)
    assert texts(found.extra)["accuracy: Off-the-shelf"]["mjbench_safety"] == "62.50"
    assert "accuracy: Off-the-shelf" not in texts(results.of_runs(2, tmp_path).extra)
    done = cli("tables", 3, "--runs", tmp_path)
    assert "the paper does not name its metric" in " ".join(done.out.split()) and "472/574" in done.out
    assert "472/574" not in cli("tables", 2, "--runs", tmp_path).out


def test_markdown_has_a_row_a_method(tmp_path: Path, cli) -> None:
    write(tmp_path / "one", result(macro_f1=0.7, macro_f1_ci95=[0.6, 0.75]))
    done = cli("tables", 2, "--format", "markdown", "--runs", tmp_path)
    rows = [line for line in done.out.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1 and len(rows) == 2 + 5 + 2
    assert "| Off-the-shelf |" in done.out and "70.00 [60.0, 75.0]<br>paper 80.01 (-10.01)*" in done.out
    assert "    mtrl sft recipes/sft_unified.yaml\n" in done.out


def test_latex_is_balanced_and_escaped(tmp_path: Path, cli) -> None:
    write(tmp_path / "a_b%c", {**result(), "schema": 1})
    write(tmp_path / "one", result(macro_f1=0.7, macro_f1_ci95=[0.6, 0.75]))
    done = cli("tables", "--format", "latex", "--runs", tmp_path)
    assert done.code == 0, done.err
    for environment in ("table", "tabular"):
        assert done.out.count(f"\\begin{{{environment}}}") == done.out.count(f"\\end{{{environment}}}") == 4
    inside = [line for line in done.out.splitlines() if line and not line.startswith(("%", "\\"))]
    assert inside and all(line.endswith(" \\\\") for line in inside)
    assert {line.count("&") for line in inside} == {6, 7, 3, 5}  # Tables 1, 2 and 3, 3, by run
    plain = "\n".join(inside + [line for line in done.out.splitlines() if line.startswith("\\caption")])
    for sign in "%_#$":
        assert plain.count(sign) == plain.count("\\" + sign), sign
    assert plain.count("{") == plain.count("}")
    assert "agin\\_nat" in plain and "70.00 [60.0, 75.0]" in plain and "paper 80.01 (-10.01)*" in plain
    for rule in ("\\toprule", "\\midrule", "\\bottomrule"):
        assert done.out.count(rule) >= 3


def test_a_judges_name_is_text_in_every_format(tmp_path: Path, cli) -> None:
    """Names come with other people's files."""
    hostile = "a|b <img src=x onerror=alert(1)> [click](javascript:alert(1))\r\n\n\\input{/etc/passwd}%"
    for name in ("one", "two"):
        judge = {"name": f"{hostile}{name}", "trained_on": None}
        write(tmp_path / name, {**result(), "judged_by": judge})
    pages = {form: cli("tables", 2, "--format", form, "--runs", tmp_path).out for form in ("markdown", "latex")}
    rows = [line for line in pages["markdown"].splitlines() if line.startswith("|")]
    assert "<img" not in pages["markdown"] and "](j" not in pages["markdown"] and len(rows) == 2 + 6 + 3
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows}) == 1
    assert not [line for line in pages["markdown"].splitlines() if line.startswith("\\input")]
    assert "\\input" not in pages["latex"] and "\\textbackslash{}input\\{" in pages["latex"]
    assert not re.search(r"(?<!\\)%(?! not)", pages["latex"]) and pages["latex"].count("\\caption{") == 1


def test_latex_reads_no_bracket_as_an_option() -> None:
    from mtrl.paper.typeset import escaped

    assert escaped("[1]") == "{}[1]" and escaped("a & b_c \\ {~^}") == (
        r"a \& b\_c \textbackslash{} \{\textasciitilde{}\textasciicircum{}\}"
    )


def test_a_legend_is_printed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli) -> None:
    monkeypatch.chdir(tmp_path)
    shown = cli("tables").out  # Table 3's legend is Table 2's with a footnote
    assert shown.count("an invalid answer counts as wrong") == 1 and "does not name its metric" in shown
