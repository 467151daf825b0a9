"""Upstream's own mergers, which make a Hugging Face folder of shards or of adapters. They run on the CPU."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mtrl.backends import envs
from mtrl.config.recipe_types import Recipe
from mtrl.core import child
from mtrl.core.errors import MtrlError
from mtrl.core.files import dump_yaml, write_text


@contextlib.contextmanager
def scratch_folder(where: Path) -> Iterator[Path]:
    """A folder in `where` for what is merged, removed at the end."""
    with tempfile.TemporaryDirectory(prefix=".merge.", dir=where) as folder:
        yield Path(folder)


def run(command: list[str], what: str) -> None:
    """Raises MtrlError with `what` failed ("X failed on Y"), the merger's reason and the command."""
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    if done.returncode != 0:
        raise MtrlError(f"{what}: {child.reason(done.stderr)}", shlex.join(command))


@contextlib.contextmanager
def adapter(folder: Path, recipe: Recipe, scratch: Path) -> Iterator[Path]:
    """A Hugging Face folder of the base model with the adapter in `folder` merged in, by LLaMA-Factory's own export."""
    binary = envs.interpreter("llamafactory").parent / "llamafactory-cli"
    with scratch_folder(scratch) as here:
        keys = {
            "model_name_or_path": recipe.model.path,
            "adapter_name_or_path": str(folder),
            "template": recipe.model.template,
            "trust_remote_code": False,
            "export_dir": str(here / "merged"),
            "export_device": "cpu",
            "export_size": 5,  # GB per file, as on the hub
        }
        write_text(here / "export.yaml", dump_yaml(keys))
        run([str(binary), "export", str(here / "export.yaml")], f"LLaMA-Factory could not merge {folder}")
        yield here / "merged"
