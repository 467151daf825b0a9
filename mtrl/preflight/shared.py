"""Paths that only one node has: what a launch over several nodes reads or writes on a disk of this node.

One machine cannot look into another, but it can tell a local disk from a file system that machines share. A local disk
may have the same files at the same paths on every node, so this is a warning.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from mtrl.backends import envs, registry
from mtrl.config.recipe_types import Recipe
from mtrl.core.errors import UserError
from mtrl.core.finding import Check
from mtrl.core.rundir import Run

MOUNTS = Path("/proc/mounts")
LOCAL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "overlay", "tmpfs", "ramfs", "squashfs"}


def check(recipe: Recipe, run: Run, data: Path) -> Iterator[Check]:
    """One line for a preset of several nodes, a warning if a path is on a local disk; nothing for one node."""
    if recipe.hardware.nodes == 1 or not MOUNTS.exists():
        return
    paths = {"run directory": run.path, "data": data, "mtrl's environment": Path(sys.prefix)}
    with contextlib.suppress(UserError):  # that it is missing is another check's error
        paths["trainer's environment"] = envs.interpreter(registry.of(recipe).environment).parent.parent
    if (model := Path(recipe.model.path)).exists():
        paths["model"] = model
    kinds = {what: filesystem(path, MOUNTS.read_text()) for what, path in paths.items()}
    local = [f"{what} {paths[what].absolute()} ({kind})" for what, kind in kinds.items() if kind in LOCAL]
    if local:
        text = f"{recipe.hardware.nodes} nodes need the same paths, and these are on a disk of this node: "
        then = "put them on a file system that all nodes mount, or the same files at these paths on each node"
        yield Check("warning", text + ", ".join(local), then)
    else:
        yield Check("ok", f"{', '.join(paths)} are on file systems that nodes can share")


def filesystem(path: Path, mounts: str) -> str:
    """The type of the file system that has `path`, which need not exist yet, by the lines of /proc/mounts."""
    path, found, kind = path.resolve(), Path("/"), ""
    for line in mounts.splitlines():
        _, point, named, *_ = line.split(" ")
        mount = Path(point.encode().decode("unicode_escape"))  # a space is \040 there
        if path.is_relative_to(mount) and len(mount.parts) >= len(found.parts):  # of two at one point, the later
            found, kind = mount, named
    return kind
