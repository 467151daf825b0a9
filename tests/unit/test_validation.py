"""A number on the validation split is shown under the name of what it is: accuracy of tokens, or of verdicts."""

from __future__ import annotations

import json
from pathlib import Path

from mtrl.config import recipe
from mtrl.core.files import write_json
from mtrl.core.rundir import Run


def begun(name: str, method: str, rows: list[dict], tasks: str = "demo_quality") -> Run:
    run = Run(Path("runs") / name)
    found = recipe.load(method, "tiny", "cpu", None, [f"tasks={tasks}"])
    run.claim(found.model_dump(mode="json", exclude_none=True), {})
    run.set("done", started=1.0, data=str(Path("data").resolve()))
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


def cells(out: str, run: str) -> dict[str, str]:
    lines = [[part.strip() for part in line.replace("┃", "│").split("│")[1:-1]] for line in out.splitlines()]
    head = next(line for line in lines if "run" in line)
    return dict(zip(head, next(line for line in lines if run in line), strict=True))


def test_status_names_what_each_number_is(cli, project: Path) -> None:
    one = begun("one", "sft_unified", [{"step": 5, "total_steps": 10, "loss": 0.5, "eval_accuracy": 0.85}, {"step": 6}])
    begun("two", "rl_multitask", [{"step": 5, "total_steps": 10, "reward": 0.3, "eval_accuracy": 0.61}])
    done = cli("status")
    assert done.code == 0 and "val accuracy" not in done.out
    sft, rl = cells(done.out, "one"), cells(done.out, "two")
    assert (sft["token accuracy"], sft["verdict accuracy"], sft["reward"]) == ("0.85", "", "")
    assert (rl["token accuracy"], rl["verdict accuracy"], rl["reward"]) == ("", "0.61", "0.3")
    write_json(one.path / "select.json", {"by": "accuracy", "split": "val", "scores": {"5": 0.55, "6": 0.5}, "best": 5})
    sft = cells(cli("status", "one").out, "one")
    assert sft["token accuracy"] == "0.85" and sft["verdict accuracy"] == "0.55 (step 5, mtrl select)"
    write_json(one.path / "select.json", {"by": "macro_f1", "split": "val", "scores": {"5": 0.4}, "best": 5})
    assert cells(cli("status", "one").out, "one")["verdict accuracy"].startswith("Macro-F1 0.4 (step 5")


def test_no_runs_yet_names_a_command_that_works_here(cli, project: Path) -> None:
    done = cli("status", "--runs", "my runs")
    assert done.code == 0 and "no runs in my runs/. next: mtrl tasks" in done.out
    assert "sft_unified" not in done.out  # which would be a training of a 30B on 8 GPUs


def scored(*accuracies: tuple[float, ...]) -> list[dict]:
    """Validations at steps 10, 20, ..., each of demo_quality and demo_safety."""
    tasks = ("demo_quality", "demo_safety")
    return [
        {"step": 10 * n, **{f"eval_accuracy_{task}": x for task, x in zip(tasks, row, strict=True)}}
        for n, row in enumerate(accuracies, 1)
    ]


def test_status_warns_where_a_task_falls_while_another_rises(cli, project: Path) -> None:
    run = begun("one", "rl_multitask", [], "demo_quality,demo_safety")
    for accuracies, warned in (
        (((0.6, 0.9), (0.7, 0.95), (0.9, 0.7)), True),
        (((0.6, 0.9), (0.7, 0.95), (0.7, 0.7)), False),  # nothing rises
        (((0.6, 0.9), (0.7, 0.95), (0.9, 0.92)), False),  # within two standard errors
        (((0.9, 0.6), (0.9, 0.95), (0.9, 1.0)), False),
        (((0.6, 1.0), (1.0, 0.0)), True),
        (((0.6, 0.9),), False),
    ):
        (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in scored(*accuracies)))
        out = " ".join((done := cli("status", "one")).out.split())
        assert done.code == 0 and ("while that of demo_quality rose" in out) is warned, out
    (run.path / "metrics.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in scored((0.6, 0.9), (0.7, 0.95), (0.9, 0.7)))
    )
    out = " ".join(cli("status").out.split())
    assert (
        "warning one: from step 20 to 30 validation accuracy of demo_safety fell from 0.950 to 0.700, while that of "
        "demo_quality rose from 0.700 to 0.900 (each by more than 2 standard errors)" in out
    )
    assert "next: mtrl select one, or train under another --name with --set rl.mix.demo_safety=2" in out
