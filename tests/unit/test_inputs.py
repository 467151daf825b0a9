"""A cap on each task's training rows: the same rows for SFT and RL, validation whole, and no cap means links."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from mtrl.backends import registry
from mtrl.config import recipe
from mtrl.core.rundir import Run

TASKS = "tasks=demo_quality,demo_safety"


def test_a_cap_keeps_the_same_rows_for_sft_and_rl(converted: Path, tmp_path: Path) -> None:
    ids: dict[str, list[list[str]]] = {}
    for name in ("sft_unified", "rl_multitask"):
        found = recipe.load(name, "tiny", "cpu", sets=[TASKS, "max_rows_per_task=30"])
        run = Run(tmp_path / name)
        trainer = registry.of(found)
        trainer.link_inputs(found, run, (converted / "data").resolve())
        config = trainer.config(found, run, (converted / "data").resolve())
        if name == "sft_unified":
            assert f"dataset_dir: {run.inputs}/sft" in config and f"media_dir: {converted.resolve()}/data" in config
            rows = [json.loads((run.inputs / f"sft/{t}_train.json").read_text()) for t in found.tasks]
            ids[name] = [[row["id"] for row in part] for part in rows]
            known = json.loads((run.inputs / "sft/dataset_info.json").read_text())
            assert set(known) == {f"{t}_{s}" for t in found.tasks for s in ("train", "val")}
            assert Path(known["demo_safety_val"]["file_name"]).exists()
        else:
            ids[name] = [pq.read_table(run.inputs / f"rl_train/{t}.parquet")["id"].to_pylist() for t in found.tasks]
            assert pq.read_metadata(run.inputs / "rl_val/demo_safety.parquet").num_rows == 100
            whole = pq.ParquetFile(converted / "data/demo_safety/rl_train.parquet")
            assert pq.read_schema(run.inputs / "rl_train/demo_safety.parquet").equals(whole.schema_arrow)
    assert ids["sft_unified"] == ids["rl_multitask"]
    assert [len(part) for part in ids["sft_unified"]] == [30, 30]


def test_without_a_cap_rows_are_linked(converted: Path, tmp_path: Path) -> None:
    found = recipe.load("rl_multitask", "tiny", "cpu", sets=[TASKS])
    run = Run(tmp_path / "r")
    registry.of(found).link_inputs(found, run, converted / "data")
    files = sorted((run.inputs / "rl_train").iterdir())
    assert [file.name for file in files] == ["demo_quality.parquet", "demo_safety.parquet"]
    assert all(file.is_symlink() and file.exists() for file in files)
