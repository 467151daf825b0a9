"""Builds the demo's tiny model: a tokenizer and a Qwen3-VL-MoE after its "instruct" training, as a Hugging Face folder.

    OMP_NUM_THREADS=1 PYTHONPATH=. .venv-llamafactory/bin/python -m mtrl.demo.tiny_model --out recipes/models/tiny

Contract: runs with transformers 4.57 (LLaMA-Factory's environment, where mtrl is not installed). That version saves the
experts' layout, config and tokenizer files of the hub, which LLaMA-Factory, EasyR1, transformers 5, TRL and vLLM load.
It takes about 8 minutes on one core. It is seeded, but another CPU or torch version may round differently. The result
is part of the repository.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from transformers import (
    AddedToken,
    GenerationConfig,
    Qwen2TokenizerFast,
    Qwen2VLImageProcessorFast,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    __version__,
)

from mtrl.demo.lessons import CURRICULA, Lesson, frame, stream
from mtrl.demo.world import SIZE, draw

PATCH, MERGE = 16, 2
IMAGE_TOKENS = (SIZE // PATCH // MERGE) ** 2
MIN_PIXELS, MAX_PIXELS = SIZE * SIZE, 256 * 256  # as recipes/models/tiny.yaml has them
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"

# Qwen's own added tokens, in its order. Those in PLAIN are not "special": decoding without special tokens keeps them.
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
PLAIN = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"]

# ChatML as Qwen3-VL-Instruct writes it: no system prompt by default, and no <think> after the generation prompt.
CHAT_TEMPLATE = """
{%- macro show(content) -%}
{%- if content is string -%}{{ content }}
{%- else -%}
{%- for part in content -%}
{%- if part.type == 'image' or part.image or part.image_url -%}<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.type == 'video' or part.video -%}<|vision_start|><|video_pad|><|vision_end|>
{%- else -%}{{ part.text }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\n' + show(message.content) + '<|im_end|>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}
""".strip()


def build_tokenizer(texts: Iterator[str], vocab_size: int) -> Qwen2TokenizerFast:
    """Qwen's byte-level BPE tokenizer, with a vocabulary learnt from `texts`."""
    with tempfile.TemporaryDirectory() as folder:
        vocab, merges = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        vocab.write_text('{"!": 0}')
        merges.write_text("#version: 0.2\n")
        empty = Qwen2TokenizerFast(str(vocab), str(merges))
    trained = empty.train_new_from_iterator(texts, vocab_size=vocab_size)
    trained.add_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL], special_tokens=True)
    trained.add_tokens([AddedToken(t, special=False, normalized=False) for t in PLAIN])
    trained.add_special_tokens({"eos_token": "<|im_end|>", "additional_special_tokens": SPECIAL[1:]})
    trained.chat_template = CHAT_TEMPLATE
    trained.model_max_length = 4096
    trained.padding_side = "left"
    return trained


def build_processor(tokenizer: Qwen2TokenizerFast) -> Qwen3VLProcessor:
    sizes = {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS}
    half = [0.5, 0.5, 0.5]
    shared = {"patch_size": PATCH, "temporal_patch_size": 2, "merge_size": MERGE, "image_mean": half, "image_std": half}
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessorFast(size=sizes, **shared),
        video_processor=Qwen3VLVideoProcessor(size=sizes, **shared),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(tokenizer: Qwen2TokenizerFast) -> Qwen3VLMoeForConditionalGeneration:
    def token(text: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(text))

    hidden, spread = 128, 0.06  # layers this narrow learn several times faster from 0.06 than from the usual 0.02
    text = {
        "vocab_size": -(-len(tokenizer) // 64) * 64,
        "hidden_size": hidden,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 96,  # neither hidden nor hidden / 2: then every expert tensor's shape tells its layout
        "max_position_embeddings": 4096,
        "initializer_range": spread,
        "rope_theta": 10000.0,
        "rope_scaling": {"rope_type": "default", "mrope_interleaved": True, "mrope_section": [6, 5, 5]},
        "eos_token_id": token("<|im_end|>"),
        "pad_token_id": token("<|endoftext|>"),
    }
    vision = {
        "depth": 3,
        "hidden_size": 96,
        "intermediate_size": 192,
        "num_heads": 4,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "out_hidden_size": hidden,
        "num_position_embeddings": (256 // PATCH) ** 2,
        "initializer_range": spread,
        "deepstack_visual_indexes": [1],
    }
    config = Qwen3VLMoeConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )
    model = Qwen3VLMoeForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        eos_token_id=[token("<|im_end|>"), token("<|endoftext|>")], pad_token_id=token("<|endoftext|>"), do_sample=False
    )
    return model


def collate(lessons: list[Lesson], processor: Qwen3VLProcessor) -> dict[str, torch.Tensor]:
    """One padded batch, [lessons, longest]; labels are -100 on the prompt: only the reply and its end count."""
    tokenizer, rows, labels = processor.tokenizer, [], []
    expanded = IMAGE.replace("<|image_pad|>", "<|image_pad|>" * IMAGE_TOKENS)
    for lesson in lessons:
        user = lesson.prompt.replace("<image>", expanded)
        prompt = tokenizer.encode(f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n")
        reply = tokenizer.encode(f"{lesson.reply}<|im_end|>\n")
        rows.append(prompt + reply)
        labels.append([-100] * len(prompt) + reply)
    width = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    target = torch.tensor([row + [-100] * (width - len(row)) for row in labels])
    pictures = processor.image_processor([draw(s) for lesson in lessons for s in lesson.images], return_tensors="pt")
    return {"input_ids": ids, "attention_mask": mask, "labels": target, **pictures}


def teach(
    model: Qwen3VLMoeForConditionalGeneration,
    processor: Qwen3VLProcessor,
    lesson: Callable[[], Lesson],
    steps: int,
    batch: int,
    rate: float,
) -> None:
    """Trains `model` for `steps` updates of `batch` lessons each, up to the learning rate `rate`."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.05)
    start, seen = time.time(), 0.0
    for step in range(1, steps + 1):
        lessons = sorted((lesson() for _ in range(batch)), key=lambda x: (len(x.images), len(x.prompt)))
        for half in (
            lessons[: batch // 2],
            lessons[batch // 2 :],
        ):  # short ones together: most of the work would be padding
            loss = model(**collate(half, processor)).loss / 2
            loss.backward()
            seen += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            print(f"step {step}/{steps} loss {seen / 100:.4f} {time.time() - start:.0f}s", flush=True)
            seen = 0.0


def save(model: Qwen3VLMoeForConditionalGeneration, processor: Qwen3VLProcessor, out: Path) -> None:
    model.to(torch.bfloat16).save_pretrained(out)
    processor.save_pretrained(out)
    config = json.loads((out / "config.json").read_text())
    config["text_config"]["norm_topk_prob"] = True  # vLLM reads it; transformers 4.57 always does so
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (out / "model.safetensors").chmod((out / "config.json").stat().st_mode)  # written 0600, whatever the umask


VOCABULARY = {"demo": 420, "study": 640}
STEPS = (1400, 400)  # of the two phases, for the demo


def build(out: Path, seed: int, curriculum: str, steps: tuple[int, int], batch: int = 32) -> None:
    """Trains in two phases, of `steps` updates each: all replies right, then verdicts spoilt (see lessons.py)."""
    if not __version__.startswith("4.57"):
        raise SystemExit(
            f"transformers {__version__} saves another layout of experts; run this with transformers 4.57: "
            ".venv-llamafactory/bin/python, built by make setup-llamafactory"
        )
    torch.manual_seed(seed)
    about = CURRICULA[curriculum]()
    lesson = stream(about, random.Random(seed), spoil=False)
    tokenizer = build_tokenizer((frame(lesson()) for _ in range(2000)), VOCABULARY[curriculum])
    processor, model = build_processor(tokenizer), build_model(tokenizer)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {len(tokenizer)} tokens", flush=True)
    first = stream(about, random.Random(seed + 1), spoil=False, lessons=steps[0] * batch)
    teach(model, processor, first, steps[0], batch, 2e-3)
    model.to(torch.bfloat16).to(torch.float32)  # the second phase starts from the weights as a file would hold them
    teach(model, processor, stream(about, random.Random(seed + 2), spoil=True), steps[1], batch, 1e-3)
    save(model, processor, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="build the demo's tiny model, or a base model of mtrl study")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--curriculum", choices=sorted(CURRICULA), default="demo")
    parser.add_argument("--steps", type=int, nargs=2, default=STEPS, help="updates of the two phases")
    options = parser.parse_args()
    build(options.out, options.seed, options.curriculum, tuple(options.steps))
