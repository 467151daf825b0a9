"""What the tests of preflight share: a recipe as it would be launched."""

from __future__ import annotations

from pathlib import Path

from mtrl.config.recipe_types import Recipe
from mtrl.core.finding import Check
from mtrl.core.rundir import Run
from mtrl.preflight import keys, plan
from mtrl.preflight.rendered import Rendered

DATA = Path("data")


def a_run(found: Recipe) -> Run:
    return Run(Path("runs") / found.default_name)


def rendered(found: Recipe) -> Rendered:
    return Rendered(found, a_run(found), DATA)


def preflight(found: Recipe, data: Path = DATA) -> list[Check]:
    return plan.preflight(found, a_run(found), data, rendered(found))


def rules(found: Recipe) -> list[Check]:
    """The keys and the rules of EasyR1 or verl."""
    config = rendered(found)
    return [*keys.check(found, config), *plan.RULES[found.trainer](found, a_run(found), config)]


def errors(checks: list[Check]) -> list[str]:
    return [check.text for check in checks if check.level == "error"]
