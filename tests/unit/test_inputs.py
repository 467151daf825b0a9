"""A cap on each task's training rows: the same rows for SFT and RL, validation whole, and no cap means links."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mtrl.backends import registry
from mtrl.config import prompting, recipe, samples, tasks
from mtrl.core.errors import UserError
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


BACKENDS = {"trl": ("cpu", []), "easyr1": ("8x80gb", []), "verl": ("8x80gb", ["backend=verl"])}


def rows(backend: str, home: Path, folder: Path, *sets: str) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """{(split, task): (prompt, ground truth) of each row} as a backend writes them into a run in `folder`."""
    hardware, own = BACKENDS[backend]
    found = recipe.load("rl_multitask", "tiny", hardware, sets=[TASKS, *own, *sets])
    run, data = Run(folder / backend), (home / "data").resolve()
    registry.of(found).link_inputs(found, run, data)
    there = {}
    for split in ("train", "val"):
        for task in found.tasks:
            if backend == "verl":
                table = pq.read_table(run.inputs / f"verl_{split}/{task}.parquet").to_pylist()
                read = [(row["prompt"][0]["content"], row["reward_model"]["ground_truth"]) for row in table]
            else:
                table = pq.read_table(run.inputs / f"rl_{split}/{task}.parquet").to_pylist()
                read = [(row["problem"], row["answer"]) for row in table]
            there[split, task] = read
    return there


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cap", [[], ["max_rows_per_task=30"]])
def test_style_sft_writes_the_sft_prompts_of_the_same_rows(
    project: Path, tmp_path: Path, backend: str, cap: list[str]
) -> None:
    before = {file: file.read_bytes() for file in (project / "data").glob("*/rl_*.parquet")}
    plain = rows(backend, project, tmp_path / "rl", *cap)
    bare = rows(backend, project, tmp_path / "sft", "style=sft", *cap)
    for (split, task), written in bare.items():
        assert [truth for _, truth in written] == [truth for _, truth in plain[split, task]]
        render = prompting.renderer(tasks.load(task), "sft")
        of = {sample.id: render(sample) for sample in samples.read(project / "data", task, split)}
        assert [prompt for prompt, _ in written] == [of[json.loads(truth)["id"]] for _, truth in written]
        assert len(written) == (30 if cap and split == "train" else len(of)) and "<think>" not in written[0][0]
    assert before == {file: file.read_bytes() for file in before}


def test_a_changed_prompt_is_written_anew(project: Path, tmp_path: Path) -> None:
    rows("verl", project, tmp_path, "style=sft")
    with (project / "prompts/sft/demo_safety.jinja").open("a") as prompt:
        prompt.write(" Say it.")
    assert rows("verl", project, tmp_path, "style=sft")["train", "demo_safety"][0][0].endswith(" Say it.")


def test_samples_that_are_not_the_rows_are_refused(project: Path, tmp_path: Path) -> None:
    file = samples.path_of(project / "data", "demo_safety", "val")
    samples.write(file, reversed(list(samples.read(project / "data", "demo_safety", "val"))))
    with pytest.raises(UserError, match="have other rows") as error:
        rows("trl", project, tmp_path, "style=sft")
    assert error.value.then.startswith("mtrl convert demo_safety")
