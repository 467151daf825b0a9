"""A study's folder with generated evaluations, for tests that plant effects in it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mtrl.config.kinds import OTHER
from mtrl.core.files import write_json, write_text
from mtrl.demo import study_world
from mtrl.demo.study_outcomes import POINTWISE, Outcome
from mtrl.demo.study_plan import Plan
from mtrl.evaluate import predictions
from mtrl.evaluate.metrics.prediction import Prediction

TESTED = [name for names in POINTWISE.values() for name in names]
ROWS, PER_CAPTION, CAPTIONS = 40, 6, 10
Chance = dict[Outcome, float]


def plan(**changes: Any) -> Plan:
    arms = {"A": "sft", "B": "sft", "C": "rl", "D": "sft", "E": "rl"}
    content: dict[str, Any] = {
        "bases": {"b1": 1}, "base_steps": (1, 1), "world_seed": 7, "rows": {"train": 8, "val": 8, "test": 8},
        "pairs": 8, "arms": {name: {"title": f"arm {name}", "recipe": "r", "style": s} for name, s in arms.items()},
        "votes": 2, "sft": {}, "rl": {}, "pilot": [101, 102, 103], "seeds": [1, 2, 3, 4, 5, 6, 7, 8],
        "least_seeds": 6, "power": 0.9, "margin": 10, "guard": 3, "alpha": 0.05, "primary": ("E", "A"),
        "secondary": [("D", "A"), ("C", "A"), ("E", "C"), ("B", "A")], "resamples": 1000, "trajectory": [1],
        "kl_prompts": 10,
    }  # fmt: skip
    return Plan(**{**content, **changes})


def row(task: str, name: str, label: str, verdict: str | None, order: str = "given", cluster: str = "") -> Prediction:
    return Prediction(
        id=name, task=task, order=order, vote=0, response=verdict or "?", verdict=verdict, lenient=verdict, label=label,
        cluster=cluster or name,
    )  # fmt: skip


def pair(number: int, outcome: Outcome, label: str, caption: str) -> list[Prediction]:
    given, turned = {
        "right": (label, OTHER[label]), "wrong": (OTHER[label], label), "flipped": ("1", "1"), "invalid": (label, None)
    }[outcome]  # fmt: skip
    name = f"pair-{number}"
    return [
        row(study_world.PAIRS, name, label, given, "given", caption),
        row(study_world.PAIRS, name, OTHER[label], turned, "turned", caption),
    ]


def pairs(chance: Chance, rng: random.Random) -> list[Prediction]:
    """PER_CAPTION pairs of each caption, with these outcomes by chance; "wrong" where no other one is drawn."""
    found = []
    for number in range(CAPTIONS * PER_CAPTION):
        outcome = rng.choices([*chance, "wrong"], [*chance.values(), max(0.0, 1 - sum(chance.values()))])[0]
        found += pair(number, outcome, "12"[number % 2], f"caption-{number // PER_CAPTION}")
    return found


def pointwise(task: str, right: float) -> list[Prediction]:
    """ROWS rows, of which this share is right."""
    other = {"yes": "no", "no": "yes"}
    labels = ["yes" if number % 2 else "no" for number in range(ROWS)]
    return [
        row(task, f"{task}-{number}", label, label if number < right * ROWS else other[label])
        for number, label in enumerate(labels)
    ]


def evaluation(folder: Path, style: str, rows: Iterable[Prediction], **changes: Any) -> Path:
    """Writes eval.json and predictions.jsonl. `changes` are of eval.json; `asked` those of every task in it."""
    rows, asked = list(rows), changes.pop("asked", {})
    tasks = {
        name: {
            "split": "test", "prompt_sha256": f"p-{name}", "samples_sha256": f"s-{name}", "limit": None,
            "requests": sum(r.task == name for r in rows),
            "choices": ["1", "2"] if name == study_world.PAIRS else ["yes", "no"], **asked,
        }
        for name in dict.fromkeys(r.task for r in rows)
    }  # fmt: skip
    sampling = {"max_tokens": 32, "temperature": 0.0, "votes": 1}
    about = {"schema": 1, "path": str(folder.parent), "checkpoint": folder.parent.name, "method": "zero_shot"}
    write_json(folder / "eval.json", {**about, "style": style, "sampling": sampling, "tasks": tasks, **changes})
    write_text(folder / predictions.FILE, "".join(map(predictions.as_line, rows)))
    return folder


def whole(folder: Path, style: str, chance: Chance, rng: random.Random, right: float = 0.95, **changes: Any) -> Path:
    """An evaluation of all that the study asks."""
    tested = [one for name in TESTED for one in pointwise(name, right)]
    return evaluation(folder, style, [*tested, *pairs(chance, rng)], **changes)


def cell(home: Path, plan: Plan, base: str, arm: str, seed: int, chance: Chance, /, **changes: Any) -> Path:
    """One finished training. `changes` are of cell.json; `right` is the share of right pointwise answers."""
    run, style, right = home / f"runs/{base}-{arm}-{seed}", plan.arms[arm].style, changes.pop("right", 0.95)
    rng = random.Random(f"{base}-{arm}-{seed}")
    for asked in ("sft", "rl"):
        whole(run / f"eval-{asked}", asked, chance if asked == style else {"invalid": 0.9}, rng, right)
    for step in (50, 100) if seed in plan.trajectory else ():
        evaluation(run / f"step-{step}-eval", style, pairs(chance, rng), step=step)
    content = {
        "plan": plan.sha256, "base": base, "arm": arm, "seed": seed, "step": 100, "kl": 1.0, "kl_per_token": 0.1,
        "seconds": 60.0, **changes,
    }  # fmt: skip
    write_json(run / "cell.json", content)
    return run


def study(home: Path, plan: Plan, share: Callable[[str, int], float], seeds: Iterable[int], /, **changes: Any) -> Path:
    """A study in which arm and seed decide the share of right pairs; half of the others are flipped."""
    for base in plan.bases:
        for style in ("sft", "rl"):
            whole(home / f"runs/{base}-zero/eval-{style}", style, {"right": 0.5}, random.Random(0))
        for seed in seeds:
            for arm in plan.arms:
                right = share(arm, seed)
                cell(home, plan, base, arm, seed, {"right": right, "flipped": (1 - right) / 2}, **changes)
    return home
