"""Real photographs (1024 x 1024 JPEG, MJ-Bench's quality set), a user's own task, and every stage; each row accounted for.

The folder with the photographs is not part of the project; without it this test is skipped, and says so.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mtrl import samples
from mtrl.files import read_json, read_jsonl, sha256_file
from tests.conftest import SHARED, mtrl

RELEASE = SHARED / "mjbench_quality_objects"
PRESETS = ["--model", "tiny", "--hardware", "cpu", "--set", "tasks=photo_original"]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not RELEASE.exists(), reason="no ../shared/data/mjbench_quality_objects"),
]


def run(home: Path, *arguments: object) -> str:
    done = mtrl(*arguments, cwd=home)
    assert done.code == 0, done.err[-3000:] + done.out[-3000:]
    return done.out


def test_convert_sft_rl_eval(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parent / "photos", tmp_path, dirs_exist_ok=True)
    run(tmp_path, "convert", "photo_original", "photo_pairs", "--raw", RELEASE)
    run(tmp_path, "check", "photo_original", "photo_pairs")
    data = tmp_path / "data"
    kept = [s for split in ("train", "val", "test") for s in samples.read(data, "photo_original", split)]
    card = read_json(data / "photo_original" / "card.json")
    assert len(kept) + sum(card["rejects"].values()) == card["rows_in_release"] == 200
    assert len({s.id for s in kept}) == len(kept) and len({s.answer for s in kept}) == 2
    groups = [{s.group for s in samples.read(data, "photo_original", split)} for split in ("train", "val", "test")]
    assert not groups[0] & groups[2] and not groups[0] & groups[1]  # an original and its edit are never parted
    for sample in kept[:20]:  # release bytes, verbatim
        assert sha256_file(data / sample.images[0]) == sha256_file(RELEASE / "images" / sample.id)
    assert samples.count(data, "photo_pairs", "test") == 100
    assert {s.answer for s in samples.read(data, "photo_pairs", "test")} == {"1", "2"}  # the release always says 0

    run(
        tmp_path,
        "sft",
        "sft_unified",
        *PRESETS,
        "--set",
        "sft.epochs=1",
        "--set",
        "sft.validate_every=2",
        "--name",
        "s",
    )
    rl = ["--set", "upstream.grpo.max_steps=2", "--set", "rl.validate_every=2", "--name", "r"]
    run(tmp_path, "rl", "rl_multitask", *PRESETS, *rl)
    for name, style in (("s", "sft"), ("r", "rl")):
        run(tmp_path, "export", name, "--to", f"exports/{name}")
        run(tmp_path, "eval", "--ckpt", f"exports/{name}", "--tasks", "photo_original,photo_pairs")
        rows = read_jsonl(tmp_path / f"runs/{name}/eval/predictions.jsonl")
        test = samples.count(data, "photo_original", "test")
        assert len(rows) == test + 2 * 100 == len({(r["task"], r["id"], r["order"]) for r in rows})
        assert all(not row["finish_reason"].startswith("rejected") for row in rows)
        metrics = json.loads((tmp_path / f"runs/{name}/eval/metrics.json").read_text())
        assert metrics["photo_original"]["n"] == test and metrics["photo_pairs"]["pairwise"]["pairs"] == 100
        assert metrics["style"] == style and metrics["mean_macro_f1"] is None
        assert (tmp_path / f"runs/{name}/eval/report.html").stat().st_size > 100_000
