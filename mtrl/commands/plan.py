"""`mtrl plan RECIPE`: what would run, and every preflight check with its verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtrl.commands import options


def command(
    recipe: options.RecipeFile,
    model: options.Model = None,
    hardware: options.HardwareName = None,
    tasks: options.Tasks = None,
    set: options.Sets = None,
    name: options.RunName = None,
    data: options.Data = options.DATA,
    runs: options.Runs = options.RUNS,
    price: Annotated[
        float | None, typer.Option(min=0, max=1e9, help="Money per GPU-hour: adds the cost to the time.")
    ] = None,
    elsewhere: Annotated[
        bool, typer.Option("--elsewhere", help="Plan for another machine: leave out what only that one can answer.")
    ] = False,
) -> None:
    """Check a recipe in seconds, without a GPU.

    The checks: keys, data, prompt lengths, batch sizes, environment, memory, disk.
    """
    from mtrl.backends import registry
    from mtrl.config import recipe as recipes
    from mtrl.core import hints
    from mtrl.core.console import check, say
    from mtrl.core.errors import UserError
    from mtrl.core.rundir import Run, checked
    from mtrl.preflight.plan import preflight
    from mtrl.preflight.rendered import Rendered

    resolved = recipes.load(recipe, model, hardware, tasks, set, data)
    if resolved.stage is None:
        raise UserError(
            f"{recipe} trains nothing: mtrl eval scores a model as it is",
            hints.line("eval", ckpt=resolved.model.path, data=data),
        )
    say(f"{resolved.method} of {resolved.model.name} on {resolved.hardware.name}: {', '.join(resolved.tasks)}")
    run = Run(runs / checked(name or resolved.default_name))
    checks = preflight(resolved, run, data, Rendered(resolved, run, data), price, elsewhere)
    for found in checks:
        check(*found)
    errors = [found for found in checks if found.level == "error"]
    if errors:
        raise UserError(f"{len(errors)} check{'s' * (len(errors) != 1)} failed.", errors[0].then)
    same = {"tasks": tasks, "set": set, "model": model, "hardware": hardware, "name": name, "data": data, "runs": runs}
    launch = hints.line(resolved.stage, recipe, **same)
    if not elsewhere:
        say(f"ready: {launch}")
        return
    folders = [str(folder) for folder in (Path("recipes"), Path("prompts"), data) if folder.is_dir()]
    local = [resolved.model.path] if Path(resolved.model.path).is_dir() else []
    say(f"copy to the machine that trains, next to each other: {', '.join([*folders, *local])}")
    environment = registry.of(resolved).environment
    targets = " ".join(f"setup-{name}" for name in dict.fromkeys(["main", "llamafactory", environment]))
    say(f"there, in mtrl's folder: make {targets} DEVICE={'gpu' if resolved.hardware.gpus_per_node else 'cpu'}")
    say(f"there, next to what was copied: {hints.line('plan', recipe, **same)} && {launch}")
