"""Inside a Slurm job: whether it has the nodes and GPUs of the hardware preset.

Upstream would find out late or never: torchrun waits for a node that nobody starts, and of too many nodes the rest
stands idle. Slurm's variables are those of the job in a batch script, and of the step below srun.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from mtrl.config.recipe_types import Recipe
from mtrl.core.finding import Check


def check(recipe: Recipe) -> Iterator[Check]:
    """Nothing outside of a job, and nothing that Slurm does not say: a job without GPUs has no variable for them."""
    hardware = recipe.hardware
    if "SLURM_JOB_ID" in os.environ:
        yield from _compare("nodes", "SLURM_NNODES", hardware.nodes, hardware.name)
        yield from _compare("gpus_per_node", "SLURM_GPUS_ON_NODE", hardware.gpus_per_node, hardware.name)


def _compare(key: str, variable: str, wanted: int, preset: str) -> Iterator[Check]:
    """An error if the job has less than the preset wants, a warning if it has more."""
    given = os.environ.get(variable, "")
    if not given.isdecimal() or int(given) == wanted:
        return
    has, less = int(given), int(given) < wanted
    text = f"{variable} is {has}, and hardware {preset} has {key} {wanted}"
    option = f"--{key.replace('_', '-')}={wanted}"
    change = f"--set hardware.{key}={has}" if wanted else "--hardware NAME"
    yield Check(
        "error" if less else "warning",
        text if less else f"{text}: the rest is not used",
        f"sbatch {option}, or {change}",
    )
