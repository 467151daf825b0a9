"""A study of two seeds in miniature: a base model built in seconds, two arms, every command real."""

import json
from pathlib import Path

from mtrl.core.files import dump_yaml, read_yaml
from tests.conftest import mtrl

PLAN = Path("recipes/study.yaml").resolve()
CELLS = ("b-A-1", "b-A-2", "b-E-1", "b-E-2")


def test_a_study_of_two_seeds(tmp_path: Path) -> None:
    plan = read_yaml(PLAN)
    plan |= {"bases": {"b": 0}, "base_steps": [120, 10], "rows": {"train": 16, "val": 6, "test": 6}, "pairs": 8}
    plan |= {"arms": {name: plan["arms"][name] for name in "AE"}, "secondary": [], "pilot": [], "seeds": [1, 2]}
    plan |= {"least_seeds": 2, "trajectory": [1], "kl_prompts": 6, "votes": 2}
    plan["sft"] |= {"epochs": 1, "validate_every": 2}
    plan["rl"] |= {"n": 2, "validate_every": 6}
    (tmp_path / "small.yaml").write_text(dump_yaml(plan))
    done = mtrl("study", "--plan", "small.yaml", cwd=tmp_path)
    assert done.code == 0, done.err
    home = tmp_path / "runs/study"
    for name in CELLS:
        cell = json.loads((home / "runs" / name / "cell.json").read_text())
        assert cell["kl"] >= 0 and cell["step"] > 0
        for style in ("sft", "rl"):
            lines = (home / f"runs/{name}/eval-{style}/predictions.jsonl").read_text().splitlines()
            assert len(lines) == 9 * 6 + 2 * 8
    assert list((home / "runs/b-A-1").glob("step-*-eval")) and not list((home / "runs/b-A-2").glob("step-*-eval"))
    page = (home / "study.md").read_text()
    assert "E - A" in page and "not shown" in page and (home / "study.svg").read_text().startswith("<svg")
    before = {file: file.stat().st_mtime_ns for file in home.rglob("predictions.jsonl")}
    (home / "runs/b-E-2/cell.json").unlink()  # as if it had been killed there
    done = mtrl("study", "--plan", "small.yaml", cwd=tmp_path)
    assert done.code == 0, done.err
    assert before == {file: file.stat().st_mtime_ns for file in home.rglob("predictions.jsonl")}
    assert (home / "runs/b-E-2/cell.json").exists()
    (tmp_path / "small.yaml").write_text(dump_yaml(plan | {"margin": 5}))
    refused = mtrl("study", "--plan", "small.yaml", cwd=tmp_path)
    assert refused.code == 2 and "another plan (different now: margin)" in refused.err
