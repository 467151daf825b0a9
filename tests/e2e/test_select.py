"""`mtrl select`: real checkpoints, asked by vLLM on val; `--step best` follows it, and nothing is asked twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import mtrl

pytestmark = pytest.mark.e2e


def test_the_best_step_by_verdicts(project: Path) -> None:
    arguments = ["--model", "tiny", "--hardware", "cpu", "--set", "tasks=demo_quality", "--name", "s"]
    brief = ["--set", "sft.epochs=2", "--set", "sft.validate_every=16"]
    done = mtrl("sft", "sft_unified", *arguments, *brief, cwd=project)
    assert done.code == 0, done.err
    refused = mtrl("export", "s", "--step", "best", "--out", "exports/s", cwd=project)
    assert refused.code == 2 and "mtrl select s" in refused.err
    done = mtrl("select", "s", cwd=project)
    assert done.code == 0, done.err
    chosen = json.loads(Path("runs/s/select.json").read_text())
    assert set(chosen["scores"]) == {"16", "32"} and chosen["by"] == "accuracy"
    for step, score in chosen["scores"].items():
        found = json.loads(Path(f"runs/s/select/step-{step}/metrics.json").read_text())["demo_quality"]
        assert found["n"] == 100 and found["split"] == "val" and found["accuracy"] == pytest.approx(score)
    assert not list(Path("runs/s/select").glob("*/model"))
    again = mtrl("select", "s", "--by", "macro_f1", cwd=project)
    assert again.code == 0 and "asking it" not in again.out
    done = mtrl("export", "s", "--step", "best", "--out", "exports/s", cwd=project)
    assert done.code == 0, done.err
    best = json.loads(Path("runs/s/select.json").read_text())["best"]
    card = json.loads(Path("exports/s/mtrl.json").read_text())
    assert card["step"] == best and "task_files/prompts/sft/demo_quality.jinja" in card["files"]
    assert "select" not in mtrl("tables", "2", cwd=project).out
