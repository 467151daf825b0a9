"""`mtrl tasks`: the registry, with what is converted."""

from __future__ import annotations

from mtrl.commands import options


def command(data: options.Data = options.DATA) -> None:
    """List the tasks, and which of them are converted."""
    from mtrl import tasks
    from mtrl.commands.show import check, say, table
    from mtrl.errors import UserError
    from mtrl.files import read_json

    def converted(name: str) -> str:
        card = data / name / "card.json"
        try:
            counts = read_json(card)["counts"] if card.exists() else {}
            sizes = [f"{split} {sum(counts[split].values()):,}" for split in tasks.SPLITS if counts.get(split)]
        except (UserError, KeyError, TypeError, AttributeError):
            return "card.json is broken: convert again"
        return "  ".join(sizes) or "not converted"

    rows = []
    for task in tasks.load_all():
        rows.append([task.name, task.title, task.capability, task.kind, task.converter, converted(task.name)])
    broken = tasks.broken()
    rows += [[name, "", "", "", "", "broken"] for name in broken]
    table("", ["task", "title", "capability", "kind", "converter", str(data)], rows)
    for name, error in broken.items():
        check("stop", f"{name}: {error}", error.then)
    if not rows:
        say("no tasks here: add recipes/tasks/<name>.yaml (README: a judge for your own images)")
