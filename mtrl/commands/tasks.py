"""`mtrl tasks`: the tasks, and which are converted."""

from __future__ import annotations

from mtrl.commands import options


def command(data: options.Data = options.DATA) -> None:
    """List the tasks, and show which are converted."""
    from mtrl.config import datacard, tasks
    from mtrl.core.console import check, say, table
    from mtrl.core.errors import UserError

    def converted(name: str) -> str:
        if not datacard.path_of(data, name).exists():
            return "not converted"
        try:
            counts = datacard.read(data, name).counts
        except UserError:
            return "card.json is broken, convert again"
        return "  ".join(f"{split} {sum(counts[split].values()):,}" for split in tasks.SPLITS if counts.get(split))

    rows = []
    for task in tasks.load_all():
        rows.append([task.name, task.title, task.capability, task.kind, task.converter, converted(task.name)])
    broken = tasks.broken()
    rows += [[name, "", "", "", "", "broken"] for name in broken]
    table("", ["task", "title", "capability", "kind", "converter", str(data)], rows)
    for name, error in broken.items():
        check("error", f"{name}: {error}", error.then)
    if not rows:
        say("there are no tasks: mtrl new-task NAME writes one")
