"""Training by GRPO with TRL's GRPOTrainer: `python -m mtrl.backends.jobs.grpo upstream.yaml`.

Reads the RL parquet, the reward file by its path, and the run's checkpoints; it resumes from the newest one.
Validation samples one answer per prompt, with the temperature and top-p of `validation`. Training stops when its
accuracy has not improved for `patience` validations.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

from mtrl.config.prompting import parts
from mtrl.converters.pipeline.images import load_rgb
from mtrl.core.files import read_yaml
from mtrl.models import trainer_state
from mtrl.models.budget import size_of

LOG = "trainer_log.jsonl"


def main(file: str) -> None:
    config = read_yaml(Path(file))
    checkpoints = Path(config["grpo"]["output_dir"]).glob("checkpoint-*")
    newest = max(checkpoints, key=lambda path: int(path.name.split("-")[1]), default=None)
    if newest and (reason := trainer_state.last(newest)):
        print(f"nothing is left to train from {newest.name}: {reason}", flush=True)
        return

    import torch
    from peft import LoraConfig
    from transformers import AutoConfig, AutoProcessor, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    grpo = dict(config["grpo"])
    grpo.setdefault("model_init_kwargs", {"dtype": config["dtype"]})
    arguments = GRPOConfig(**grpo)
    text = AutoConfig.from_pretrained(config["model"], trust_remote_code=False).get_text_config()
    if arguments.use_vllm and getattr(text, "num_experts", 0):  # it would load them transposed, or fail late
        raise SystemExit(
            f"{config['model']} is a mixture of experts: TRL does not give vLLM its weights in vLLM's layout"
        )
    processor = AutoProcessor.from_pretrained(
        config["model"], padding_side="left", trust_remote_code=False, size=size_of(config["image"])
    )
    output = Path(arguments.output_dir)
    output.mkdir(parents=True, exist_ok=True)

    class Watch(TrainerCallback):  # type: ignore[misc]
        """Writes TRL's own log lines to a file, and stops training when validation accuracy no longer improves."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if state.is_world_process_zero:
                line = {"step": state.global_step, "total_steps": state.max_steps, **(logs or {})}
                with (output / LOG).open("a") as log:
                    log.write(json.dumps(line, default=float) + "\n")

        def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            history = [row["eval_accuracy"] for row in state.log_history if "eval_accuracy" in row]
            since_best = len(history) - 1 - history.index(max(history)) if history else 0
            if since_best >= config["patience"]:
                control.should_training_stop = True

    class Trainer(GRPOTrainer):  # type: ignore[misc]
        """TRL samples answers in validation as in training; other trainers have a rule of their own for it."""

        def evaluate(self, *arguments: Any, **more: Any) -> Any:
            sampler = self.vllm_generation if self.use_vllm else self.generation_config
            before = {name: getattr(sampler, name) for name in config["validation"]}
            try:
                for name, value in config["validation"].items():
                    setattr(sampler, name, value)
                return super().evaluate(*arguments, **more)
            finally:
                for name, value in before.items():
                    setattr(sampler, name, value)

    trainer = Trainer(
        model=config["model"],
        reward_funcs=reward_function(**config["reward"]),
        args=arguments,
        train_dataset=dataset(Path(config["train"])),
        eval_dataset=dataset(Path(config["val"])),
        processing_class=processor,
        callbacks=[Watch()],
        peft_config=LoraConfig(task_type="CAUSAL_LM", **config["lora"]) if "lora" in config else None,
    )
    torch.manual_seed(arguments.seed)
    print(f"resuming from {newest.name}" if newest else "starting from the base model", flush=True)
    trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    trainer.save_model(str(output))
    processor.save_pretrained(str(output))
    trainer.save_state()  # last: its file marks the training as finished


def dataset(folder: Path) -> Any:
    """The folder's parquet files with TRL's columns: prompt (one user message), images, answer, id, task.

    Images are decoded when a row is read, by mtrl's own reader: `datasets`' Image rotates them by their EXIF data,
    which no other trainer here does, nor the evaluation.
    """
    from datasets import load_dataset

    files = sorted(str(path) for path in folder.glob("*.parquet"))
    rows = load_dataset("parquet", data_files=files, split="train")
    rows = rows.map(
        lambda row: {"prompt": [{"role": "user", "content": parts(row["problem"])}]}, remove_columns=["problem"]
    )
    return rows.with_transform(_decoded)


def _decoded(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    if "images" not in rows:  # only another column was asked for
        return rows
    return {**rows, "images": [[load_rgb(BytesIO(image["bytes"])) for image in row] for row in rows["images"]]}


def reward_function(file: str, **settings: Any) -> Any:
    """`trl_reward` of the reward file, loaded by path as EasyR1 loads it, with its keyword arguments set."""
    spec = importlib.util.spec_from_file_location("reward_file", file)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def judge(prompts: Any, completions: Any, **columns: Any) -> list[float]:
        rewards: list[float] = module.trl_reward(completions, **settings, **columns)
        return rewards

    return judge


if __name__ == "__main__":
    main(sys.argv[1])
