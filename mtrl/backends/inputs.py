"""What is written into runs/<name>/inputs for a trainer: the model with the image budget, and training rows.

Without a cap on rows, trainers read the converted files as they are: LLaMA-Factory by its registry, GRPO through a
folder of links. With `max_rows_per_task` N, a seeded choice of N rows of each task's train split is written into the
run; validation and test are never capped. verl reads other columns, so its files are always written into the run.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtrl.config.recipe_types import Recipe
from mtrl.converters.pipeline import exports
from mtrl.core.files import LARGE, read_json, symlink, write_json, written
from mtrl.core.rundir import Run
from mtrl.models import budget, model_folder


def model_to_budget(recipe: Recipe) -> Path | None:
    """The model whose processor gets the recipe's image budget; None if no such folder is on this machine."""
    model = model_folder.local_model(recipe.model.path)
    return model if model and (model / budget.FILE).exists() else None


def budgeted_model(recipe: Recipe, run: Run) -> None:
    """inputs/model: links to the model's files, with the recipe's image budget in its processor."""
    if model := model_to_budget(recipe):
        budget.overlay(model, recipe.image.model_dump(), run.inputs / "model")


def rl_files(recipe: Recipe, data: Path) -> list[Path]:
    """The converted files of GRPO."""
    return [data / task / exports.RL.format(split) for task in recipe.tasks for split in ("train", "val")]


def chosen(total: int, recipe: Recipe, task: str) -> list[int]:
    """Which rows of a task's train split are trained on, in file order."""
    cap = recipe.max_rows_per_task
    if cap is None or cap >= total:
        return list(range(total))
    return sorted(random.Random(f"{recipe.seed}/{task}").sample(range(total), cap))


def sft_registry(recipe: Recipe, data: Path, folder: Path) -> Path:
    """The folder whose dataset_info.json LLaMA-Factory reads: the data folder, or with a cap `folder`, written here."""
    if recipe.max_rows_per_task is None:
        return data
    folder.mkdir(parents=True, exist_ok=True)
    registry = read_json(data / exports.REGISTRY)
    entries = {}
    for task in recipe.tasks:
        rows = read_json(data / task / exports.SFT.format("train"), limit=LARGE)
        kept = [rows[index] for index in chosen(len(rows), recipe, task)]
        write_json(folder / f"{task}_train.json", kept)
        entries[f"{task}_train"] = {**registry[f"{task}_train"], "file_name": f"{task}_train.json"}
        entries[f"{task}_val"] = {**registry[f"{task}_val"], "file_name": str(data / task / exports.SFT.format("val"))}
    write_json(folder / exports.REGISTRY, entries)
    return folder


def rl_folders(recipe: Recipe, data: Path, folder: Path) -> None:
    """folder/rl_train and folder/rl_val: one <task>.parquet each, a link or, under a cap, the chosen rows."""
    for split in ("train", "val"):
        target = folder / f"rl_{split}"
        target.mkdir(parents=True, exist_ok=True)
        for old in target.iterdir():
            old.unlink()
        for task in recipe.tasks:
            source = (data / task / exports.RL.format(split)).resolve()
            if split == "train" and recipe.max_rows_per_task is not None:
                _write_chosen(source, target / f"{task}.parquet", recipe, task)
            else:
                symlink(source, target / f"{task}.parquet")


OPTIONS = {"use_dictionary": False, "write_statistics": False, "compression": "none"}


def _write_chosen(source: Path, target: Path, recipe: Recipe, task: str) -> None:
    """Copies the chosen rows, one row group in memory at a time."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(source)
    wanted = chosen(file.metadata.num_rows, recipe, task)
    with written(target) as temporary, pq.ParquetWriter(temporary, file.schema_arrow, **OPTIONS) as writer:
        for _, table in _groups(file, wanted):
            writer.write_table(table)


def _groups(file: Any, wanted: list[int]) -> Iterator[tuple[list[int], Any]]:
    """(row numbers, table) of the wanted rows of a pyarrow ParquetFile, one row group in memory at a time."""
    among, first = set(wanted), 0
    for number in range(file.num_row_groups):
        table = file.read_row_group(number)
        keep = [index for index in range(table.num_rows) if first + index in among]
        if keep:
            yield [first + index for index in keep], table.take(keep)
        first += table.num_rows


def verl_files(recipe: Recipe, data: Path, folder: Path) -> None:
    """folder/verl_train and folder/verl_val: the chosen rows of rl_<split>.parquet with verl's columns, by task.

    Each image has the recipe's budget, by which qwen-vl-utils resizes. A file that was made from the same input is
    kept.
    """
    for split in ("train", "val"):
        target = folder / f"verl_{split}"
        target.mkdir(parents=True, exist_ok=True)
        for old in target.iterdir():
            if old.stem not in recipe.tasks:
                old.unlink()
        for task in recipe.tasks:
            _write_verl(
                (data / task / exports.RL.format(split)).resolve(), target / f"{task}.parquet", recipe, task, split
            )


def _write_verl(source: Path, target: Path, recipe: Recipe, task: str, split: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    cap, stat = recipe.max_rows_per_task if split == "train" else None, source.stat()
    origin = json.dumps([str(source), stat.st_size, stat.st_mtime_ns, cap, recipe.seed, recipe.image.model_dump()])
    if target.exists() and (pq.read_schema(target).metadata or {}).get(b"mtrl") == origin.encode():
        return
    text, number = pa.string(), pa.int64()
    image = pa.struct([("bytes", pa.binary()), ("path", text), ("min_pixels", number), ("max_pixels", number)])
    schema = pa.schema(
        [
            ("data_source", text),
            ("prompt", pa.list_(pa.struct([("role", text), ("content", text)]))),
            ("images", pa.list_(image)),
            ("ability", text),
            ("reward_model", pa.struct([("style", text), ("ground_truth", text)])),
            ("extra_info", pa.struct([("index", number), ("split", text), ("id", text)])),
        ],
        metadata={"mtrl": origin},
    )  # fmt: skip
    file = pq.ParquetFile(source)
    wanted = chosen(file.metadata.num_rows, recipe, task) if split == "train" else list(range(file.metadata.num_rows))
    pixels = recipe.image.model_dump()
    with written(target) as temporary, pq.ParquetWriter(temporary, schema, **OPTIONS) as writer:
        for numbers, table in _groups(file, wanted):
            rows = [
                {
                    "data_source": row["task"],
                    "prompt": [{"role": "user", "content": row["problem"]}],
                    "images": [{**image, **pixels} for image in row["images"]],
                    "ability": "judge",
                    "reward_model": {"style": "rule", "ground_truth": row["answer"]},
                    "extra_info": {"index": index, "split": split, "id": row["id"]},
                }
                for index, row in zip(numbers, table.to_pylist(), strict=True)
            ]
            writer.write_table(pa.Table.from_pylist(rows, schema))


def verl_counts(folder: Path, split: str) -> dict[str, int]:
    """{task: rows} of what `verl_files` wrote."""
    import pyarrow.parquet as pq

    return {file.stem: pq.read_metadata(file).num_rows for file in sorted((folder / f"verl_{split}").glob("*.parquet"))}
