"""`mtrl select`: scores that are there already count only while they are of the samples that are converted now."""

from __future__ import annotations

import json
from pathlib import Path

from mtrl.config import samples
from mtrl.core.files import sha256_file
from mtrl.evaluate.metrics import task as metrics
from mtrl.runs import select
from tests.unit.metrics_fixture import task_metrics


def val_scores(data: Path, tasks: list[str]) -> str:
    """A metrics.json of `tasks` on the val samples that `data` holds now."""
    confusion = {"yes": {"yes": 1, "no": 1, "invalid": 0}, "no": {"yes": 1, "no": 1, "invalid": 0}}
    cell = task_metrics(macro_f1_ci95=None, split="val", confusion=confusion)
    cells = {task: {**cell, "samples_sha256": sha256_file(samples.path_of(data, task, "val"))} for task in tasks}
    return json.dumps({"schema": metrics.SCHEMA, "method": "sft_unified", "checkpoint": "m", "votes": 1, **cells})


def test_scores_of_other_samples_are_asked_for_again(project: Path, cli) -> None:
    data, file = project / "data", project / "metrics.json"
    file.write_text(val_scores(data, ["demo_quality"]))
    assert select.current(file, ["demo_quality"], data)
    assert not select.current(file, ["demo_quality", "demo_safety"], data)  # one task is not scored
    assert cli("convert", "demo_quality", "--raw", "raw", "--limit", 20).code == 0
    assert not select.current(file, ["demo_quality"], data)
