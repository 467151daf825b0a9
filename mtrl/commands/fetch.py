"""`mtrl fetch TASK... --out raw/`: downloads public releases at pinned revisions; explains how to get the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    names: Annotated[list[str], typer.Argument(metavar="TASK...", help="The tasks whose releases to download.")],
    out: Annotated[Path, typer.Option(help="Folder for the releases. Each gets a folder of its own in it.")] = Path(
        "raw"
    ),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be downloaded; download nothing.")
    ] = False,
) -> None:
    """Download the releases of tasks.

    Source, files, size and terms are printed first. Files that are there are kept."""
    from mtrl.config import tasks
    from mtrl.converters.readers import fetch
    from mtrl.core.console import say

    chosen = [tasks.load(name) for name in dict.fromkeys(names)]
    for release in fetch.releases_of(chosen):
        say("\n".join(fetch.introduce(release)))
        if release.by_hand:
            say(release.by_hand.strip().replace("DIR", str(out / release.name)))
            continue
        plan = fetch.plan(release, chosen, out / release.name)
        say("\n".join(fetch.describe(plan)))
        if dry_run:
            continue
        fetch.download(plan)
        say(f"{release.name}: {len(plan.files)} files in {plan.folder}, listed in {plan.folder / fetch.RECORD}")
