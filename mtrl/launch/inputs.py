"""The training rows of a run over several tasks, with an optional cap on each task.

Without a cap trainers read the converted files as they are: LLaMA-Factory by its registry, GRPO through a folder of
links. With `max_rows_per_task`, a seeded choice of so many rows of each task's train split is written into the run;
validation and test are never capped.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from mtrl.files import read_json, write_json, written
from mtrl.recipe import Recipe


def chosen(total: int, recipe: Recipe, task: str) -> list[int]:
    """Which rows of a task's train split are trained on, in file order."""
    cap = recipe.max_rows_per_task
    if cap is None or cap >= total:
        return list(range(total))
    return sorted(random.Random(f"{recipe.seed}/{task}").sample(range(total), cap))


def sft_registry(recipe: Recipe, data: Path, folder: Path) -> Path:
    """The folder whose dataset_info.json LLaMA-Factory is to read: the data folder, or with a cap `folder`, written here."""
    if recipe.max_rows_per_task is None:
        return data
    folder.mkdir(parents=True, exist_ok=True)
    registry = read_json(data / "dataset_info.json")
    entries = {}
    for task in recipe.tasks:
        rows = json.loads((data / task / "sft_train.json").read_text(encoding="utf-8"))
        kept = [rows[index] for index in chosen(len(rows), recipe, task)]
        write_json(folder / f"{task}_train.json", kept)
        entries[f"{task}_train"] = {**registry[f"{task}_train"], "file_name": f"{task}_train.json"}
        entries[f"{task}_val"] = {**registry[f"{task}_val"], "file_name": str(data / task / "sft_val.json")}
    write_json(folder / "dataset_info.json", entries)
    return folder


def rl_folders(recipe: Recipe, data: Path, folder: Path) -> None:
    """folder/rl_train and folder/rl_val: one <task>.parquet each, a link or, under a cap, the chosen rows."""
    for split in ("train", "val"):
        target = folder / f"rl_{split}"
        target.mkdir(parents=True, exist_ok=True)
        for old in target.iterdir():
            old.unlink()
        for task in recipe.tasks:
            source = (data / task / f"rl_{split}.parquet").resolve()
            if split == "train" and recipe.max_rows_per_task is not None:
                _write_chosen(source, target / f"{task}.parquet", recipe, task)
            else:
                (target / f"{task}.parquet").symlink_to(source)


def _write_chosen(source: Path, target: Path, recipe: Recipe, task: str) -> None:
    """Copies the chosen rows, one row group in memory at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(source)
    wanted = set(chosen(file.metadata.num_rows, recipe, task))

    def groups() -> Iterator[pa.Table]:
        first = 0
        for number in range(file.num_row_groups):
            table = file.read_row_group(number)
            keep = [index for index in range(table.num_rows) if first + index in wanted]
            first += table.num_rows
            if keep:
                yield table.take(keep)

    options = {"use_dictionary": False, "write_statistics": False, "compression": "none"}
    with written(target) as beside, pq.ParquetWriter(beside, file.schema_arrow, **options) as writer:
        for table in groups():
            writer.write_table(table)
