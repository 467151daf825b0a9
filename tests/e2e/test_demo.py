"""`mtrl demo`, whole: release, SFT by LLaMA-Factory, GRPO by TRL, vLLM, tables and reports, with a Qwen3-VL MoE."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import hinted
from tests.conftest import DEMO, mtrl

pytestmark = pytest.mark.e2e


def test_the_whole_way(tmp_path: Path, cli, monkeypatch: pytest.MonkeyPatch) -> None:
    done = mtrl("demo", "--out", tmp_path / "demo", cwd=tmp_path, timeout=2400)
    assert done.code == 0, done.out[-3000:] + done.err[-3000:]
    home = tmp_path / "demo"

    def mean(run: str) -> float:
        result = json.loads((home / f"runs/{run}/eval/metrics.json").read_text())
        assert result["mean_macro_f1"] == pytest.approx(sum(result[task]["macro_f1"] for task in DEMO) / 3)
        return 100 * float(result["mean_macro_f1"])

    base, sft, rl = mean("zero_shot"), mean("sft_unified"), mean("rl_multitask")
    assert sft > base, f"SFT-Unified {sft:.1f} is not above the base {base:.1f}"
    print(f"mean Macro-F1: base {base:.1f}, SFT-Unified {sft:.1f}, MT-RL-Judge {rl:.1f}")
    for words in (
        "demo, synthetic data, tiny model",
        "Off-the-shelf",
        "SFT-Unified",
        "MT-RL-Judge",
        "unseen pairwise format",
    ):
        assert words in done.out
    assert "paper" not in done.out.split("Table 2")[1]  # the paper's numbers do not stand beside the demo's
    for run in ("zero_shot", "sft_unified", "rl_multitask"):
        assert (home / f"runs/{run}/eval/report.html").exists()
        assert (home / f"runs/{run}/eval/log.txt").exists()
    assert "Loading safetensors" not in done.out + done.err  # upstream's own lines are in those logs
    ending = done.out[done.out.rindex("$ mtrl ") :]
    assert ending.startswith("$ mtrl tables") and ending.index("Table 2") < ending.index("Table 3")
    assert ending.rstrip().endswith("next: your own images, see docs/own-task.md") and "Judges: " in ending
    # the mixture of experts went through: TRL's layout was rewritten, and vLLM answered from it above
    card = json.loads((home / "exports/rl_multitask/mtrl.json").read_text())
    assert card["experts"] == "transposed" and card["recipe"]["hardware"]["rl_backend"] == "trl"
    assert json.loads((home / "exports/sft_unified/config.json").read_text())["model_type"] == "qwen3_vl_moe"
    monkeypatch.chdir(home)  # every command that was named next works there as printed
    told = dict.fromkeys(hinted.collect(done.out + done.err))
    assert {line.split()[1] for line in told} >= {"export", "eval", "tables", "sft"}
    for line in told:
        if line.split()[1] != "export":  # the demo itself has run these
            hinted.tried(line, cli)
    single = mtrl("eval", "--ckpt", "exports/sft_unified", "--pairs-from-scores", "--limit", 50, cwd=home)
    assert single.code == 0, single.err
    pairs = json.loads((home / "runs/sft_unified/eval-from-scores/metrics.json").read_text())["demo_pairs"]
    assert pairs["n"] == 50 and pairs["from_scores"]["unknown"] == 0 and pairs["accuracy"] > 0.6
    dry = cli("reproduce", "table2", "--model", "tiny", "--hardware", "cpu", "--dry-run")
    assert dry.code == 0 and "sft_unified" in dry.out and "9 cells: 3 done, 6 left" in dry.out
    again = mtrl("demo", "--out", tmp_path / "demo", cwd=tmp_path, timeout=600)
    assert again.code == 0 and "is done" in again.out  # nothing is trained or asked twice


@pytest.mark.long
def test_all_five_rows(tmp_path: Path) -> None:
    """Every row of Table 2, single tasks included, through the same recipes with the tiny model."""
    done = mtrl("demo", "--full", "--out", tmp_path / "demo", cwd=tmp_path, timeout=3600)
    assert done.code == 0, done.out[-3000:] + done.err[-3000:]
    shown = mtrl("tables", "2", cwd=tmp_path / "demo")
    assert "not run yet" not in shown.out and " - " not in shown.out.split("Off-the-shelf")[1]
