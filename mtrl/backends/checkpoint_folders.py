"""The checkpoint folders in a run: which there are, which are complete, and which trainer saved them.

LLaMA-Factory and TRL save checkpoint-<step>/, EasyR1 and verl global_step_<step>/.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from mtrl.core.errors import UserError
from mtrl.core.files import read_json
from mtrl.core.rundir import Run
from mtrl.models import trainer_state

# The file in which each trainer that saves global_step_<step>/ keeps its data loader's state. It is written last.
LOADER = {"easyr1": "dataloader.pt", "verl": "data.pt"}
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")


def complete(checkpoint: Path) -> bool:
    """Whether its trainer finished writing this checkpoint."""
    if checkpoint.name.startswith("global_step_"):
        return _complete_shards(checkpoint)
    try:
        read_json(checkpoint / trainer_state.FILE, strict=False)
    except UserError:  # missing, or cut off by a kill
        return False
    return has_weights(checkpoint)


def has_weights(folder: Path) -> bool:
    """Whether the folder holds weights as Hugging Face stores them: whole, in parts or as an adapter."""
    return any((folder / name).exists() for name in WEIGHTS)


def by_megatron(checkpoint: Path) -> bool:
    """Whether verl's Megatron saved it: its list of contents is written after all contents."""
    return (checkpoint / "actor" / "ckpt_contents.json").exists()


def _complete_shards(checkpoint: Path) -> bool:
    """Of EasyR1 and verl: the data loader's state, and for every rank a file of each kind that rank 0 has."""
    if not any(zipfile.is_zipfile(checkpoint / name) for name in LOADER.values()):
        return False
    if by_megatron(checkpoint):
        return True
    actor = checkpoint / "actor"
    first = [file.name.removesuffix("_rank_0.pt").rsplit("_", 1) for file in actor.glob("*_world_size_*_rank_0.pt")]
    kinds = {kind for kind, _ in first}
    whole = all((actor / f"{kind}_{n}_rank_{rank}.pt").exists() for kind, n in first for rank in range(int(n)))
    ready = "model_world_size" in kinds and (actor / "huggingface" / "config.json").exists()
    return ready and whole


def _folders(run: Run) -> list[Path]:
    return [
        path for name in ("checkpoint", "global_step") for path in run.checkpoints.glob(f"{name}[-_]*") if path.is_dir()
    ]


def steps(run: Run) -> dict[int, Path]:
    """Complete checkpoints by step, in order."""
    found = {int(re.split("[-_]", path.name)[-1]): path for path in _folders(run) if complete(path)}
    return dict(sorted(found.items()))


def newest(run: Run) -> int:
    """The step of the newest complete checkpoint, 0 where there is none."""
    return max(steps(run), default=0)


def require_own(run: Run, trainer: str) -> None:
    """Raises UserError if the run has checkpoints of another trainer, whose steps would be counted with its own."""
    for path in _folders(run):
        if (trainer in LOADER) != path.name.startswith("global_step_"):
            others = "LLaMA-Factory or TRL" if trainer in LOADER else "EasyR1 or verl"
            text = f"{path} was saved by {others}, but run {run.name} is trained by {trainer}"
            raise UserError(text, "move it elsewhere, or --name ANOTHER")
        found = [name for name, file in LOADER.items() if (path / file).exists()]
        if trainer in LOADER and found not in ([], [trainer]):
            files = " and ".join(f"{LOADER[name]} ({name})" for name in found)
            raise UserError(
                f"{path} holds {files}, but run {run.name} is trained by {trainer}",
                f"move it elsewhere, or --set backend={next(n for n in found if n != trainer)} --name ANOTHER",
            )


def set_aside_incomplete(run: Run) -> list[str]:
    """Renames checkpoints that a kill left half written, since a trainer would fail on them. Returns their names."""
    torn = [path for path in _folders(run) if not complete(path)]
    for path in torn:
        path.rename(path.with_name(f"torn-{path.name}-{path.stat().st_mtime_ns}"))
    return [path.name for path in torn]
