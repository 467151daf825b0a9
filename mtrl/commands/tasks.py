"""`mtrl tasks`: the registry, with what is converted."""

from __future__ import annotations

from mtrl.commands import options


def command(data: options.Data = options.DATA) -> None:
    """List the tasks, and which of them are converted."""
    from mtrl import tasks
    from mtrl.commands.show import check, say, table
    from mtrl.files import read_json

    rows = []
    for task in tasks.load_all():
        card = data / task.name / "card.json"
        counts = read_json(card)["counts"] if card.exists() else {}
        sizes = "  ".join(f"{split} {sum(counts[split].values()):,}" for split in tasks.SPLITS if counts.get(split))
        rows.append([task.name, task.title, task.capability, task.kind, task.converter, sizes or "not converted"])
    broken = tasks.broken()
    rows += [[name, "", "", "", "", "broken"] for name in broken]
    table("", ["task", "title", "capability", "kind", "converter", str(data)], rows)
    for name, error in broken.items():
        check("stop", f"{name}: {error}", error.then)
    if not rows:
        say("no tasks here: add recipes/tasks/<name>.yaml (README: a judge for your own images)")
