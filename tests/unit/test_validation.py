"""A number on the validation split is shown under the name of what it is: accuracy of tokens, or of verdicts."""

from __future__ import annotations

import json
from pathlib import Path

from mtrl.config import recipe
from mtrl.core.files import write_json
from mtrl.core.rundir import Run


def begun(name: str, method: str, rows: list[dict]) -> Run:
    run = Run(Path("runs") / name)
    found = recipe.load(method, "tiny", "cpu", None, ["tasks=demo_quality"])
    run.claim(found.model_dump(mode="json", exclude_none=True), {})
    run.set("done", started=1.0)
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
