"""Two judges over the same samples: how far apart they are, and where they disagree. Differences are second minus first.

Rows are joined by sample and order, after each judge's own majority vote. The interval is a paired bootstrap: every
resample draws the same clusters for both, so what makes a sample hard for both falls out of the difference.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtrl.config.tasks import INVALID
from mtrl.core.errors import UserError
from mtrl.evaluate import predictions
from mtrl.evaluate.metrics import intervals
from mtrl.evaluate.metrics import task as metrics

KINDS = ("only_a", "only_b", "both_wrong")


def compare(rows_a: list[dict[str, Any]], rows_b: list[dict[str, Any]], choices: tuple[str, str]) -> dict[str, Any]:
    """Of one task's prediction rows; only what both answered counts. Numbers are of the seeded order, fractions:

    n, clusters                   samples both answered, and the clusters they fall into
    one_class                     the label, where all have the same one: Macro-F1 then says nothing; else null
    a, b                          {macro_f1, accuracy} of each
    macro_f1, accuracy            {difference, ci95}: b - a; ci95 null where there is one cluster
    both_right, only_a, only_b    samples that both, or only one, has right
    both_wrong                    samples where both are wrong, one of them perhaps by an answer that cannot be read
    mcnemar_p                     McNemar's exact test of only_a against only_b; null where rows share clusters, since
                                  it takes rows to be independent
    disagreements                 where the verdicts differ, of both orders: {id, order, kind, label, a, b}; kind is
                                  only_a, only_b (that one is right) or both_wrong (differently), a verdict may be null
    """
    from scipy.stats import binomtest

    voted_a, voted_b = (
        {(row["id"], row["order"]): row for row in metrics.voted(rows, "verdict")} for rows in (rows_a, rows_b)
    )
    shared = [key for key in voted_a if key in voted_b]
    given = [key for key in shared if key[1] == "given"]
    if not given:
        raise UserError("the two have no sample in common that both answered", "finish both with mtrl eval")
    side_a, side_b = [voted_a[key] for key in given], [voted_b[key] for key in given]
    names = [
        metrics.cluster({**b, **a}) for a, b in zip(side_a, side_b, strict=True)
    ]  # the same, unless one names none
    # a row's cell is its label and both verdicts: 2 x 3 x 3, from which either judge's matrix is a sum
    pairs = zip(metrics.cells(side_a, choices), metrics.cells(side_b, choices), strict=True)
    drawn = intervals.resampled([3 * a + b % 3 for a, b in pairs], names, 18)
    of_each = (
        None if drawn is None else (drawn.reshape(-1, 2, 3, 3).sum(axis=3), drawn.reshape(-1, 2, 3, 3).sum(axis=2))
    )
    found_a, found_b = metrics.classification(side_a, choices), metrics.classification(side_b, choices)
    right = [(a["verdict"] == a["label"], b["verdict"] == b["label"]) for a, b in zip(side_a, side_b, strict=True)]
    only_a, only_b = right.count((True, False)), right.count((False, True))
    apart = len(set(names)) == len(names)

    def difference(key: str, of: Callable[[Any], Any]) -> dict[str, Any]:
        interval = None if of_each is None else intervals.bounds(of(of_each[1]) - of(of_each[0]))
        return {"difference": found_b[key] - found_a[key], "ci95": interval}

    return {
        "n": len(given),
        "clusters": len(set(names)),
        "one_class": side_a[0]["label"] if len({row["label"] for row in side_a}) == 1 else None,
        "a": {key: found_a[key] for key in ("macro_f1", "accuracy")},
        "b": {key: found_b[key] for key in ("macro_f1", "accuracy")},
        "macro_f1": difference("macro_f1", intervals.macro_f1),
        "accuracy": difference("accuracy", intervals.accuracy),
        "both_right": right.count((True, True)),
        "only_a": only_a,
        "only_b": only_b,
        "both_wrong": right.count((False, False)),
        "mcnemar_p": float(binomtest(only_a, only_a + only_b).pvalue) if apart and only_a + only_b else None,
        "disagreements": [
            _apart(voted_a[k], voted_b[k]) for k in shared if voted_a[k]["verdict"] != voted_b[k]["verdict"]
        ],
    }


def _apart(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    kind = next((k for k, row in (("only_a", a), ("only_b", b)) if row["verdict"] == row["label"]), "both_wrong")
    a_says, b_says = (None if row["verdict"] == INVALID else row["verdict"] for row in (a, b))
    return {"id": a["id"], "order": a["order"], "kind": kind, "label": a["label"], "a": a_says, "b": b_says}


def folders(first: Path, second: Path) -> dict[str, Any]:
    """Two evaluation folders: {tasks: {name: see compare}, passed_over: [why], notes: [what else differs]}.

    A task is compared where both asked the same samples of the same split (samples_sha256); prompts may differ, since
    styles do by design, and are noted. Raises UserError where no task can be compared.
    """
    (about_a, rows_a), (about_b, rows_b) = predictions.load(first), predictions.load(second)
    tasks, passed_over, notes = {}, [], []
    for key, word in (("style", "prompt style"), ("image", "image range"), ("sampling", "sampling")):
        if about_a.get(key) != about_b.get(key):
            notes.append(f"{word} differs: {_said(about_a.get(key))} and {_said(about_b.get(key))}")
    for name in dict.fromkeys([*about_a["tasks"], *about_b["tasks"]]):
        a, b = about_a["tasks"].get(name), about_b["tasks"].get(name)
        if a is None or b is None:
            passed_over.append(f"{name}: only {first if b is None else second} asked it")
        elif (a["split"], a["samples_sha256"]) != (b["split"], b["samples_sha256"]):
            splits = f" ({a['split']} and {b['split']})" if a["split"] != b["split"] else " (converted anew in between)"
            passed_over.append(f"{name}: the two were asked different samples{splits}")
        else:
            of_a, of_b = ([row for row in rows if row["task"] == name] for rows in (rows_a, rows_b))
            if not {row["id"] for row in of_a} & {row["id"] for row in of_b}:
                passed_over.append(f"{name}: no sample that both answered")
                continue
            tasks[name] = compare(of_a, of_b, tuple(a["choices"]))
            found = tasks[name]
            if found["macro_f1"]["ci95"] and found["clusters"] < min(intervals.FEW, found["n"]):
                notes.append(f"{name}: the interval resamples {found['clusters']} clusters; so few make a rough one")
            if found["one_class"]:
                notes.append(f"{name}: all labels are {found['one_class']}, so only the accuracy says something")
            if a["prompt_sha256"] != b["prompt_sha256"] and about_a["style"] == about_b["style"]:
                notes.append(f"{name}: the prompts differ")
            if len(of_a) != a["requests"] or len(of_b) != b["requests"] or a["requests"] != b["requests"]:
                notes.append(
                    f"{name}: not all was asked of both; compared are the {tasks[name]['n']:,} samples both answered"
                )
    if not tasks:
        raise UserError(
            f"{first} and {second} have no task to compare: {'; '.join(passed_over) or 'both are empty'}",
            "run mtrl eval with both, on the same --data, --tasks and --split",
        )
    return {"tasks": tasks, "passed_over": passed_over, "notes": notes}


def _said(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
