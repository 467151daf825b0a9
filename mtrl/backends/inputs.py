"""What is written into runs/<name>/inputs for a trainer: the model with the image budget, and training rows.

Where every row is drawn once, trainers read the converted files as they are: LLaMA-Factory by its registry, GRPO
through a folder of links. Else the rows of the plan (row_plan.py) are written into the run; validation and test are
always whole. The converted RL files have the prompts of style rl: for style sft, rows of both splits are written into
the run with the task's sft prompt. verl reads other columns, so its files are always written into the run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtrl.backends import row_plan
from mtrl.config import datacard, prompting, samples, tasks
from mtrl.config.recipe_types import Recipe
from mtrl.converters.pipeline import exports
from mtrl.core.errors import UserError
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
    splits = [(task, split) for task in recipe.tasks for split in ("train", "val")]
    prompts = [samples.path_of(data, task, split) for task, split in splits] if recipe.style == "sft" else []
    return [data / task / exports.RL.format(split) for task, split in splits] + prompts


def sft_registry(recipe: Recipe, data: Path, folder: Path) -> Path:
    """The folder whose dataset_info.json LLaMA-Factory reads: the data folder, or with a cap `folder`, written here."""
    if recipe.max_rows_per_task is None:
        return data
    folder.mkdir(parents=True, exist_ok=True)
    registry = read_json(data / exports.REGISTRY)
    entries = {}
    for task in recipe.tasks:
        rows = read_json(data / task / exports.SFT.format("train"), limit=LARGE)
        kept = [rows[row] for row in row_plan.of(recipe, data, task).rows]
        write_json(folder / f"{task}_train.json", kept)
        entries[f"{task}_train"] = {**registry[f"{task}_train"], "file_name": f"{task}_train.json"}
        entries[f"{task}_val"] = {**registry[f"{task}_val"], "file_name": str(data / task / exports.SFT.format("val"))}
    write_json(folder / exports.REGISTRY, entries)
    return folder


def rl_folders(recipe: Recipe, data: Path, folder: Path) -> None:
    """folder/rl_train and folder/rl_val: one <task>.parquet each, a link to the converted one or the rows written."""
    for split in ("train", "val"):
        target = folder / f"rl_{split}"
        target.mkdir(parents=True, exist_ok=True)
        for old in target.iterdir():
            old.unlink()
        for task in recipe.tasks:
            source = (data / task / exports.RL.format(split)).resolve()
            if recipe.style == "sft" or _drawn(recipe, data, task, split) is not None:
                _write_rows(source, target / f"{task}.parquet", recipe, data, task, split)
            else:
                symlink(source, target / f"{task}.parquet")


OPTIONS = {"use_dictionary": False, "write_statistics": False, "compression": "none"}


def _write_rows(source: Path, target: Path, recipe: Recipe, data: Path, task: str, split: str) -> None:
    """Copies the rows of one split, one row group in memory at a time."""
    import pyarrow.parquet as pq

    schema = pq.read_schema(source)
    with written(target) as temporary, pq.ParquetWriter(temporary, schema, **OPTIONS) as writer:
        for table in _tables(source, recipe, data, task, split):
            writer.write_table(table.select(schema.names))


def _tables(source: Path, recipe: Recipe, data: Path, task: str, split: str) -> Iterator[Any]:
    """pyarrow tables of the rows of one split that are trained on, with the prompts of the recipe's style and the
    column `index`, a row's number in the converted file; one row group in memory at a time.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(source)
    total, first = file.metadata.num_rows, 0
    rows = _drawn(recipe, data, task, split)
    times = Counter(range(total) if rows is None else rows)
    asked = list(_prompts(data, task, split)) if recipe.style == "sft" else None
    for number in range(file.num_row_groups):
        table = file.read_row_group(number)
        index = range(first, first + table.num_rows)
        first += table.num_rows
        if asked is not None:
            here = asked[index.start : index.stop]
            if [name for name, _ in here] != table["id"].to_pylist():
                where = samples.path_of(data, task, split)
                raise UserError(f"{where} and {source} have other rows", datacard.convert_again(task, data))
            place = table.schema.get_field_index("problem")
            table = table.set_column(
                place, table.schema.field(place), pa.array([text for _, text in here], pa.string())
            )
        table = table.append_column("index", pa.array(index, pa.int64()))
        taken = [(row, copy) for row, number in enumerate(index) for copy in range(times[number])]
        if taken:
            yield _apart(table.take([row for row, _ in taken]), [copy for _, copy in taken])


def _drawn(recipe: Recipe, data: Path, task: str, split: str) -> list[int] | None:
    """The plan's row numbers; None where they are all rows once."""
    rows = row_plan.of(recipe, data, task).rows if split == "train" else []
    return None if split != "train" or rows == list(range(samples.count(data, task, split))) else rows


def _apart(table: Any, copies: list[int]) -> Any:
    """The second and further copies of a row get ids of their own in the ground truth: by it the reward function tells
    which answers are of one group.
    """
    import pyarrow as pa

    if not any(copies):
        return table
    answers = [
        json.dumps({**(truth := json.loads(text)), "id": f"{truth['id']} ({copy + 1})"}, ensure_ascii=False)
        if copy
        else text
        for text, copy in zip(table["answer"].to_pylist(), copies, strict=True)
    ]
    place = table.schema.get_field_index("answer")
    return table.set_column(place, table.schema.field(place), pa.array(answers, pa.string()))


def _prompts(data: Path, task: str, split: str) -> Iterator[tuple[str, str]]:
    """(id, prompt of style sft) of each converted row, in file order."""
    render = prompting.renderer(tasks.load(task), "sft")
    for sample in samples.read(data, task, split):
        yield sample.id, render(sample)


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
            _write_verl(target / f"{task}.parquet", recipe, data, task, split)


def _write_verl(target: Path, recipe: Recipe, data: Path, task: str, split: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = (data / task / exports.RL.format(split)).resolve()
    stat, drawn = source.stat(), row_plan.of(recipe, data, task).counts.sha256 if split == "train" else None
    made_from = [str(source), stat.st_size, stat.st_mtime_ns, drawn, recipe.image.model_dump()]
    if recipe.style == "sft":
        made_from += [prompting.sha256(tasks.load(task), "sft"), samples.path_of(data, task, split).stat().st_mtime_ns]
    origin = json.dumps(made_from)
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
    pixels = recipe.image.model_dump()
    with written(target) as temporary, pq.ParquetWriter(temporary, schema, **OPTIONS) as writer:
        for table in _tables(source, recipe, data, task, split):
            rows = [
                {
                    "data_source": row["task"],
                    "prompt": [{"role": "user", "content": row["problem"]}],
                    "images": [{**image, **pixels} for image in row["images"]],
                    "ability": "judge",
                    "reward_model": {"style": "rule", "ground_truth": row["answer"]},
                    "extra_info": {"index": row["index"], "split": split, "id": row["id"]},
                }
                for row in table.to_pylist()
            ]
            writer.write_table(pa.Table.from_pylist(rows, schema))


def verl_counts(folder: Path, split: str) -> dict[str, int]:
    """{task: rows} of what `verl_files` wrote."""
    import pyarrow.parquet as pq

    return {file.stem: pq.read_metadata(file).num_rows for file in sorted((folder / f"verl_{split}").glob("*.parquet"))}
