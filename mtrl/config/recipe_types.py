"""The types of a recipe: one field per key. Comments give units, and the source of the defaults that we chose.

The shipped YAML files name the source of each value next to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from mtrl.config import task_files
from mtrl.core import hints
from mtrl.core.schema import Mistake, Model

METHODS = {  # row of Table 2 -> its name there; and one that the paper does not have
    "zero_shot": "Off-the-shelf",
    "sft_single": "SFT-Single",
    "sft_unified": "SFT-Unified",
    "rl_single": "RL-Single",
    "rl_multitask": "MT-RL-Judge",
    "sft_traces": "SFT-Traces",
}

Method = Literal["zero_shot", "sft_single", "sft_unified", "rl_single", "rl_multitask", "sft_traces"]
Style = Literal["sft", "rl"]


KEEP = (0.1, 0.9)  # rl.keep_pass_rate as messages propose it; ours


class Image(Model):
    """The image budget in pixels, the same for SFT, RL and evaluation."""

    min_pixels: PositiveInt
    max_pixels: PositiveInt

    @model_validator(mode="after")
    def _ordered(self) -> Image:
        if self.min_pixels > self.max_pixels:
            raise ValueError(f"image.min_pixels {self.min_pixels} is more than image.max_pixels {self.max_pixels}")
        return self


class Sft(Model):
    """Keys of SFT. `batch_size` is global, in rows; gradient accumulation is derived. `max_length` is in tokens."""

    batch_size: PositiveInt
    learning_rate: PositiveFloat
    weight_decay: float = Field(ge=0)
    scheduler: Literal["cosine", "linear", "constant"]
    warmup_ratio: float = Field(ge=0, lt=1)
    epochs: PositiveFloat
    max_length: PositiveInt
    freeze_vision_tower: bool
    freeze_projector: bool
    validate_every: PositiveInt  # optimizer steps; a checkpoint is saved each time
    patience: PositiveInt  # validations without improvement before training stops
    traces_per_row: PositiveInt | None = None  # of sft_traces alone: most correct answers of one row


class Rl(Model):
    """Keys of GRPO. Batch sizes are global, in prompts, with `n` answers per prompt. Lengths are in tokens."""

    batch_size: PositiveInt
    rollout_batch_size: PositiveInt
    n: int = Field(ge=2)
    learning_rate: PositiveFloat
    weight_decay: float = Field(ge=0)
    kl_coef: float = Field(ge=0)
    clip_low: PositiveFloat
    clip_high: PositiveFloat
    ratio: Literal["token", "sequence"] = "token"  # what the policy ratio is of; sequence: GSPO, arXiv 2507.18071
    # whose choice of experts an update of a mixture repeats: the trainer's, of its pass before (R2, arXiv 2507.18071),
    # or the rollout's (R3, arXiv 2510.11370); None: nobody's
    router_replay: Literal["trainer", "rollout"] | None = None
    temperature: PositiveFloat
    top_p: float = Field(gt=0, le=1)
    max_prompt_length: PositiveInt
    max_response_length: PositiveInt
    epochs: PositiveFloat
    format_weight: float = Field(ge=0, le=1)
    score_reward: Literal["exact", "linear"] = "exact"  # of a score task; linear: 1 - |difference| / range
    length_cap: PositiveInt | None = None  # a response of as many tokens gets reward 0 (MR. Judge: 1024); paper: off
    validate_every: PositiveInt  # rollout steps; a checkpoint is saved each time
    patience: PositiveInt  # validations without improvement before training stops
    # of a row's answers in the recipe's sift: only rows with a share of right ones in [lowest, highest] are trained on
    keep_pass_rate: tuple[float, float] | None = None
    mix: dict[str, float] | None = None  # {task: how often each of its rows is drawn per epoch}; default and paper: 1

    @model_validator(mode="before")
    @classmethod
    def _gated(cls, data: Any) -> Any:
        if isinstance(data, dict) and "format_gate" in data:
            raise ValueError(
                "rl has no key format_gate: the gate is always on, since only an answer in the required "
                "form has a verdict"
            )
        return data

    @field_validator("keep_pass_rate", mode="before")
    @classmethod
    def _bounds(cls, bounds: Any) -> Any:
        if bounds is None:
            return None
        shares = bounds if isinstance(bounds, list | tuple) else []
        if len(shares) != 2 or not all(type(share) in (int, float) and 0 <= share <= 1 for share in shares):
            text = "it should be [lowest, highest], two shares from 0 to 1"
            raise Mistake(text, hints.setting("rl.keep_pass_rate", KEEP))
        if bounds[0] > bounds[1]:
            text = f"it should be [lowest, highest], and {bounds[0]:g} is more than {bounds[1]:g}"
            raise Mistake(text, hints.setting("rl.keep_pass_rate", [bounds[1], bounds[0]]))
        return bounds

    @field_validator("mix")
    @classmethod
    def _weights(cls, mix: dict[str, float] | None) -> dict[str, float] | None:
        for task, weight in (mix or {}).items():
            if not 0 < weight <= 100:
                text = f"the weight of {task} is {weight:g}, and should be greater than 0 and at most 100"
                without = "to leave the task out, name the others by --tasks and remove it from rl.mix"
                raise Mistake(text, hints.setting(f"rl.mix.{task}", 1) + f"; {without}")
        return mix

    @model_validator(mode="after")
    def _divides(self) -> Rl:
        if self.rollout_batch_size % self.batch_size:
            raise ValueError(
                f"rl.rollout_batch_size {self.rollout_batch_size} must be a multiple of rl.batch_size {self.batch_size}"
            )
        return self


class Shape(Model):
    """What a model computes, for estimates of time. Parameters in billions, [U] the model's config.json.

    `active`: of the language model per token, without the embedding; `vision`: of the encoder. `hidden`,
    `vision_hidden`: widths; `kv`: width of its keys, heads x head size. `experts`: of one layer, 0 for a dense model.
    """

    active: PositiveFloat
    vision: PositiveFloat
    layers: PositiveInt
    hidden: PositiveInt
    kv: PositiveInt
    experts: int = Field(0, ge=0)
    vision_layers: PositiveInt
    vision_hidden: PositiveInt


class ModelPreset(Model):
    """recipes/models/<name>.yaml. `path` is a folder or a Hugging Face id; "./x" is relative to the preset file."""

    name: str
    path: str
    template: str
    patch_size: PositiveInt
    merge_size: PositiveInt = 2
    parameters: PositiveFloat  # in billions
    # GPUs that share one copy of the model in RL's rollouts, where there are as many
    tensor_parallel_size: PositiveInt = 1
    # GPUs that share the experts of a mixture in verl, which then trains with Megatron; 1, or fewer GPUs: with FSDP
    expert_parallel_size: PositiveInt = 1
    shape: Shape | None = None  # None: mtrl plan does not estimate times
    recipe: dict[str, Any] = {}


class Lora(Model):
    """Adapters on all linear layers that are not frozen, instead of full-parameter training."""

    rank: PositiveInt
    alpha: PositiveInt


class Hardware(Model):
    """recipes/hardware/<name>.yaml. Per-device batch sizes are in rows for SFT, in completions for RL."""

    name: str
    nodes: PositiveInt = 1
    gpus_per_node: int = Field(ge=0)
    gpu: str | None = None  # its name in recipes/gpus.yaml, for estimates of time
    gpu_memory: PositiveFloat | None = None  # GB of one GPU, for mtrl plan on a machine without them
    precision: Literal["bf16", "fp32"]
    rl_backend: Literal["easyr1", "verl", "trl"]
    # how SFT shards weights, gradients and optimizer over the GPUs; offload: the optimizer is in host memory
    deepspeed: Literal["zero3", "zero3_offload"] | None = None
    sft_per_device_batch_size: PositiveInt
    rl_per_device_batch_size: PositiveInt
    # of a GPU's memory, for vLLM's rollouts in RL; None: the trainer's own, 0.6 in EasyR1 and verl, 0.3 in TRL
    vllm_share: float | None = Field(None, gt=0, lt=1)
    lora: Lora | None = None  # None: every parameter is trained
    env: dict[str, str] = {}
    recipe: dict[str, Any] = {}

    @property
    def world_size(self) -> int:
        return max(1, self.gpus_per_node) * self.nodes


class Recipe(Model):
    """A resolved recipe: presets are in place, and nothing is left to look up."""

    method: Method
    style: Style  # the prompt, and the form of an answer; of RL sft too: GRPO on bare verdicts
    tasks: list[str] = Field(min_length=1)
    model: ModelPreset
    hardware: Hardware
    backend: Literal["easyr1", "verl", "trl"] | None = None  # RL's trainer; None: that of the hardware preset
    image: Image
    seed: int = 42
    sift: str | None = None  # a folder of mtrl sift, for sft_traces and rl.keep_pass_rate
    max_rows_per_task: PositiveInt | None = None  # of each task's train split; [O], the paper trains on all rows
    sft: Sft | None = None
    rl: Rl | None = None
    logger: Literal["none", "wandb", "tensorboard", "swanlab"] = "none"
    upstream: dict[str, Any] = {}  # overrides in the trainer's own configuration

    @field_validator("tasks", mode="before")
    @classmethod
    def _listed(cls, tasks: Any) -> Any:
        return [name.strip() for name in tasks.split(",")] if isinstance(tasks, str) else tasks

    @model_validator(mode="after")
    def _whole(self) -> Recipe:
        stage = self.stage
        if stage and getattr(self, stage) is None:
            raise ValueError(f"method {self.method} needs a block {stage}:")
        if (other := {"sft": "rl", "rl": "sft"}.get(stage or "")) and getattr(self, other) is not None:
            raise ValueError(
                f"method {self.method} trains by {stage} and would not use the block {other}: (remove the block)"
            )
        asked = "rl" if self.on_traces else "sft"
        if stage == "sft" and self.style != asked:
            raise ValueError(
                f"style: {self.style} does not go with method {self.method}, which trains on the {asked} prompts"
            )
        traces, subset = self.sft and self.sft.traces_per_row, self.rl and self.rl.keep_pass_rate
        for key, value, used in (
            ("sift", self.sift, self.on_traces or subset),
            ("sft.traces_per_row", traces, self.on_traces),
        ):
            if used and value is None:
                text = f"{f'method {self.method}' if self.on_traces else 'rl.keep_pass_rate'} needs {key}"
                raise Mistake(text, self.sift_command() if key == "sift" else hints.setting(key, 1))
            if value is not None and not used:
                also = " and rl.keep_pass_rate" if key == "sift" else ""
                text = f"{key} is for method sft_traces{also}, and this {self.method} does not use it"
                use = f", or {hints.setting('rl.keep_pass_rate', KEEP)}" if key == "sift" and self.rl else ""
                raise Mistake(text, hints.setting(key, None) + use)
        mix = (self.rl and self.rl.mix) or {}
        if gone := [task for task in mix if task not in self.tasks]:
            text = f"rl.mix has {', '.join(gone)}, and the recipe's tasks are {', '.join(self.tasks)}"
            more = "" if self.method.endswith("_single") else f"--tasks {','.join([*self.tasks, *gone])}, or "
            left = {task: weight for task, weight in mix.items() if task in self.tasks}
            raise Mistake(text, more + hints.setting("rl.mix", left or None))
        if self.backend and stage != "rl":
            raise ValueError(f"backend: {self.backend} is for RL, and method {self.method} is not")
        if self.method.endswith("_single") and len(self.tasks) != 1:
            raise ValueError(f"method {self.method} trains on one task: pass --tasks, one of {', '.join(self.tasks)}")
        return self

    @property
    def stage(self) -> Literal["sft", "rl"] | None:
        return None if self.method == "zero_shot" else "sft" if self.method.startswith("sft") else "rl"

    def sift_command(self, model: str | None = None, **options: Any) -> str:
        """The command of a sift that fits this recipe, of its model or another one, with more of its options."""
        of = model or self.model.path
        told = (Path(of) / task_files.FOLDER).is_dir()  # an export: its own prompts may be others
        style = None if self.style == "rl" else self.style
        asked = {"ckpt": of, "tasks": ",".join(self.tasks), "style": style, "prompts": "local" if told else None}
        return hints.line("sift", **asked, **options)

    @property
    def on_traces(self) -> bool:
        """Whether it trains on the correct answers of a sift, with their reasoning."""
        return self.method == "sft_traces"

    @property
    def trainer(self) -> str:
        """The upstream trainer."""
        return "llamafactory" if self.stage == "sft" else self.backend or self.hardware.rl_backend

    @property
    def by_megatron(self) -> bool:
        """Whether the experts are shared over GPUs, which verl does by Megatron."""
        return 1 < self.model.expert_parallel_size <= self.hardware.world_size and self.hardware.lora is None

    @property
    def max_new_tokens(self) -> int:
        """Tokens that evaluation may generate: 16 for a bare verdict, rl.max_response_length for reasoning. Of a run on
        traces: runs/export.py."""
        return self.rl.max_response_length if self.style == "rl" and self.rl else 16

    @property
    def default_name(self) -> str:
        task = [self.tasks[0]] if self.method.endswith("_single") else []
        return "-".join([self.method, *task, self.model.name, self.hardware.name])
