"""The data set of `method: sft_traces`: correct answers with their reasoning, as `mtrl sift` recorded them.

Of each row that is trained on, its answers that parse strictly and are right, each text once. One row in ten is held
out with one trace, for LLaMA-Factory's token accuracy; of the others at most `sft.traces_per_row` are kept. Then no
verdict of a task has more traces than its other verdicts together: a model that prefers a verdict is right more often
on its rows, and would learn to prefer it more. All choices follow from the recipe's seed.

Written into the run's inputs/sft, as LLaMA-Factory reads it; inputs.json has what was kept and dropped.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from mtrl.backends import row_plan
from mtrl.config import prompting, samples, tasks
from mtrl.config.recipe_types import Recipe
from mtrl.converters.pipeline import exports
from mtrl.core.errors import UserError
from mtrl.core.files import read_json, sha256_file, write_json
from mtrl.core.run_files import TraceCounts, Traces
from mtrl.evaluate import judges, predictions

HELD_OUT = 10  # one row in this many validates


class Trace(NamedTuple):
    """One correct answer."""

    id: str
    """Its row's."""
    label: str
    """The row's right verdict, which it gives."""
    text: str
    """Reasoning and verdict."""


class OfTask(NamedTuple):
    """A task's traces and their numbers."""

    train: list[Trace]
    val: list[Trace]
    counts: TraceCounts


def recorded(recipe: Recipe, data: Path) -> Traces | None:
    """For inputs.json; None of a recipe that is not on traces. Raises UserError as `of_task` does."""
    if not recipe.on_traces:
        return None
    identity = row_plan.sifted(recipe, data).identity
    found = {name: of_task(recipe, data, name).counts for name in recipe.tasks}
    folder = str(Path(str(recipe.sift)).resolve())
    own = identity.checkpoint == judges.subject(recipe.model.path).fingerprint
    return Traces(sift=folder, model=identity.path, own=own, max_tokens=identity.sampling.max_tokens, tasks=found)


def hashes(recipe: Recipe) -> dict[str, str]:
    """Of the sift that the recipe names: a run does not resume with another one."""
    file = Path(str(recipe.sift)) / predictions.FILE
    return {f"sift/{file.name}": sha256_file(file)} if recipe.sift and file.exists() else {}


def rows(recipe: Recipe, data: Path) -> int:
    """The number of rows that an epoch of SFT or RL draws: of traces, where it is on traces."""
    if not recipe.on_traces:
        return sum(found.drawn for found in row_plan.counts(recipe, data).values())
    return sum(of_task(recipe, data, name).counts.traces for name in recipe.tasks)


def replies(recipe: Recipe, data: Path, task: str) -> dict[str, list[str]]:
    """{row: its traces}, of those trained on and those held out."""
    found: dict[str, list[str]] = {}
    made = of_task(recipe, data, task)
    for trace in [*made.train, *made.val]:
        found.setdefault(trace.id, []).append(trace.text)
    return found


def write(recipe: Recipe, data: Path, folder: Path) -> None:
    """The folder whose dataset_info.json LLaMA-Factory reads."""
    folder.mkdir(parents=True, exist_ok=True)
    registry, entries = read_json(data / exports.REGISTRY), {}
    for name in recipe.tasks:
        made, task = of_task(recipe, data, name), tasks.load(name)
        render = prompting.renderer(task, "rl")
        wanted = {trace.id for trace in [*made.train, *made.val]}
        asked = {row.id: row for row in samples.read(data, name, "train") if row.id in wanted}
        for split, traces in (("train", made.train), ("val", made.val)):
            content = []
            for trace in traces:
                row = asked[trace.id]
                messages = [
                    {"role": "user", "content": render(row)},
                    {"role": "assistant", "content": trace.text},
                ]
                content.append({"messages": messages, "images": list(row.images), "id": row.id, "task": name})
            file = folder / f"{name}_{split}.json"
            write_json(file, content)
            entries[f"{name}_{split}"] = {**registry[f"{name}_train"], "file_name": file.name}
    write_json(folder / exports.REGISTRY, entries)


def of_task(recipe: Recipe, data: Path, name: str) -> OfTask:
    """Raises UserError where the sift does not fit the recipe, or has traces of one verdict alone."""
    assert recipe.sft and recipe.sft.traces_per_row
    found, dropped = row_plan.sifted(recipe, data), Counter[str]()
    votes = {row.id: row for row in found.rows[name]}
    ids = [row for (row,) in samples.columns(data, name, "train", "id")]
    chosen = [ids[row] for row in row_plan.of(recipe, data, name).rows]
    by_row = {
        row: distinct
        for row in chosen
        if (distinct := _distinct(found.traces[name].get(row, []), votes[row].label, row, dropped))
    }
    pick = random.Random(f"{recipe.seed}/{name}/traces")
    held = set(pick.sample(list(by_row), max(1, len(by_row) // HELD_OUT))) if by_row else set()
    val = [by_row[row][0] for row in by_row if row in held]
    train = [trace for row in by_row if row not in held for trace in by_row[row][: recipe.sft.traces_per_row]]
    dropped["held out"] = sum(len(by_row[row]) for row in held)
    dropped["beyond traces_per_row"] = sum(map(len, by_row.values())) - dropped["held out"] - len(train)
    balanced = _balanced(train, pick)
    dropped["balance"] = len(train) - len(balanced)
    if not balanced:
        there = ", ".join(sorted({trace.label for trace in [*train, *val]}))
        what = f"are of {there} alone, and a model would learn to answer nothing else" if there else "there are none"
        raise UserError(
            f"task {name}: correct traces to train on: in the sift {recipe.sift} {what}",
            "sift with more --votes or another --ckpt, or leave the task out by --tasks",
        )
    verdicts = Counter(trace.label for trace in balanced)
    counts = TraceCounts(
        rows=len(chosen),
        solved=len(by_row),
        held_out=len(held),
        traces=len(balanced),
        verdicts={verdict: verdicts[verdict] for verdict in found.identity.tasks[name].choices},
        dropped=dict(dropped),
    )
    return OfTask(balanced, val, counts)


def _distinct(answers: list[str], label: str, row: str, dropped: Counter[str]) -> list[Trace]:
    """The correct answers of one row, each text once, in the order of the votes."""
    found: dict[str, Trace] = {}
    for text in map(str.strip, answers):
        if prompting.reserved(text):  # LLaMA-Factory would put an image there, or the tokenizer end the answer
            dropped["control token"] += 1
        elif text in found:
            dropped["repeated"] += 1
        else:
            found[text] = Trace(row, label, text)
    return list(found.values())


def _balanced(traces: list[Trace], pick: random.Random) -> list[Trace]:
    """Without as many of the most frequent verdict, drawn by `pick`, as it has more than the others together."""
    counts = Counter(trace.label for trace in traces)
    if not counts:
        return []
    most, there = counts.most_common(1)[0]
    over = max(0, 2 * there - len(traces))
    gone = set(pick.sample([index for index, trace in enumerate(traces) if trace.label == most], over))
    return [trace for index, trace in enumerate(traces) if index not in gone]
