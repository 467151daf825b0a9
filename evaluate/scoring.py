"""metrics.json from predictions.jsonl and eval.json, and from nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mtrl.config.published import table_tasks
from mtrl.core.errors import UserError
from mtrl.core.files import write_json
from mtrl.evaluate import predictions
from mtrl.evaluate.metrics import task as metrics

METRICS = "metrics.json"
OF_TASK = ("split", "limit", "conversion_limit", "samples_sha256", "prompt_sha256")  # what metrics.json repeats


def score(out: Path, file: str = predictions.FILE) -> dict[str, Any]:
    """metrics.json from predictions.jsonl alone: every task whose predictions are complete. Raises UserError.

    Predictions of another name get metrics of that name, NAME.metrics.json: they are not what the tables look for.
    """
    identity, rows = predictions.load(out, file)
    by_task: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_task.setdefault(row["task"], []).append(row)
    result: dict[str, Any] = {
        "schema": metrics.SCHEMA,
        "method": identity["method"],
        "checkpoint": identity["path"],
        "fingerprint": identity.get("checkpoint", ""),
        "style": identity["style"],
        "votes": identity["sampling"]["votes"],
        "judged_by": _judged_by(identity),
    }
    for name, about in identity["tasks"].items():
        found = by_task.get(name, [])
        if len(found) > about["requests"]:
            raise UserError(
                f"{out / file} has {len(found):,} answers to task {name}, and {about['requests']:,} were asked for",
                "start the same mtrl eval again: it names what is not of this evaluation",
            )
        if len(found) == about["requests"] and any(row["order"] == "given" for row in found):
            result[name] = {
                **metrics.of_task(found, tuple(about["choices"])),
                **{key: about.get(key) for key in OF_TASK},
                "answered": identity.get("answered", {}).get(name),
            }
    table2 = table_tasks(2)
    whole = all(name in result and not result[name]["one_class"] for name in table2)
    result["mean_macro_f1"] = sum(result[name]["macro_f1"] for name in table2) / len(table2) if whole else None
    name = METRICS if file == predictions.FILE else f"{Path(file).stem}.{METRICS}"
    write_json(out / name, result)
    return result


def task_metrics(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The per-task part of a metrics.json."""
    return {name: value for name, value in result.items() if isinstance(value, dict) and "macro_f1" in value}


def _judged_by(identity: dict[str, Any]) -> dict[str, Any] | None:
    """Who was asked, as metrics.json says it; None where an older mtrl did not record it."""
    if not identity.get("name"):
        return None
    trained_on = identity.get("trained", []) if identity.get("run") else None
    about = {"name": identity["name"], "step": identity.get("step"), "model": identity.get("model") or ""}
    return {**about, "trained_on": trained_on}
