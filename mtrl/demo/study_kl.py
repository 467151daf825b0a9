"""How far a judge is from its base model: `python -m mtrl.demo.study_kl --base DIR --judge DIR --data DATA ...`.

The forward divergence KL(base || judge) on inputs of the new task, as in RL's Razor (arXiv 2509.04259): for each of
some training prompts the base samples an answer (temperature 1), and at every token of it the divergence of the two
distributions is exact over the vocabulary. Their sum over the answer is an unbiased estimate of the divergence of whole
answers. Prints one line of JSON: {"kl": its mean over prompts, "kl_per_token", "prompts", "tokens", "cut": answers that
did not end within LONGEST tokens}; in nats. Needs torch and transformers.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mtrl.config import prompting, samples, tasks
from mtrl.converters.pipeline.images import load_rgb

LONGEST = 64  # tokens of an answer
BATCH = 20  # prompts


class Prompt(NamedTuple):
    """One training row as it is asked."""

    text: str
    images: tuple[Path, ...]


class Divergence(NamedTuple):
    """What is printed."""

    kl: float
    kl_per_token: float
    prompts: int
    tokens: int
    cut: int


def prompts(data: Path, names: list[str], style: str, count: int, seed: int) -> list[Prompt]:
    """Training rows, equally many of each task, in the same order for every judge. Raises UserError."""
    found: list[Prompt] = []
    for place, name in enumerate(names):
        task, wanted = tasks.load(name), count * (place + 1) // len(names) - len(found)
        rows, render = list(samples.read(data, name, "train")), prompting.renderer(task, style)
        chosen = random.Random(f"{seed}/{name}").sample(rows, min(wanted, len(rows)))
        found += [Prompt(render(row), tuple(data / image for image in row.images)) for row in chosen]
    return found


def measure(base: Path, judge: Path, asked: list[Prompt], seed: int) -> Divergence:
    """Both see the images as the judge's processor resizes them."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    first, second = (
        AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, trust_remote_code=False).eval()
        for folder in (base, judge)
    )
    processor = AutoProcessor.from_pretrained(judge, padding_side="left", trust_remote_code=False)
    torch.manual_seed(seed)
    sums: list[float] = []
    tokens = cut = 0
    for batch in _batches(processor, asked):
        with torch.inference_mode():
            # every other setting of generate() would change the distribution that is sampled from
            whole = first.generate(
                **batch, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=LONGEST
            )  # fmt: skip
            answer = whole[:, batch["input_ids"].shape[1] :]
            ends = torch.isin(answer, torch.tensor(first.generation_config.eos_token_id))
            inside = ends.cumsum(1) - ends.int() == 0  # up to and with the first end
            p, q = (_log_probabilities(model, batch, whole, inside) for model in (first, second))
        at = (p.exp() * (p - q)).sum(-1).clamp(min=0) * inside  # rounding may give -1e-9
        sums += at.sum(1).tolist()
        tokens, cut = tokens + int(inside.sum()), cut + int((~ends.any(1)).sum())
    return Divergence(sum(sums) / len(sums), sum(sums) / tokens, len(sums), tokens, cut)


def _batches(processor: Any, asked: list[Prompt]) -> Iterator[Any]:
    for start in range(0, len(asked), BATCH):
        rows = asked[start : start + BATCH]
        messages = [[{"role": "user", "content": prompting.parts(row.text)}] for row in rows]
        texts = [processor.apply_chat_template(one, add_generation_prompt=True, tokenize=False) for one in messages]
        images = [[load_rgb(path) for path in row.images] for row in rows]
        yield processor(text=texts, images=images, padding=True, return_tensors="pt")


def _log_probabilities(model: Any, batch: Any, whole: Any, inside: Any) -> Any:
    """Of every token of the vocabulary at each place of the answers: an array [prompts, tokens, vocabulary]."""
    import torch

    length = inside.shape[1]
    more = {"input_ids": whole, "attention_mask": torch.cat([batch["attention_mask"], inside.long()], 1)}
    if "mm_token_type_ids" in batch:  # which tokens are of an image; an answer has none
        more["mm_token_type_ids"] = torch.nn.functional.pad(batch["mm_token_type_ids"], (0, length))
    logits = model(**{**batch, **more}, logits_to_keep=length + 1).logits
    return logits[:, :-1].log_softmax(-1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="the divergence of a judge from its base model")
    for name in ("base", "judge", "data"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--tasks", required=True, help="names, separated by commas")
    parser.add_argument("--style", choices=prompting.STYLES, required=True)
    parser.add_argument("--prompts", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chosen = prompts(options.data, options.tasks.split(","), options.style, options.prompts, options.seed)
    print(json.dumps(measure(options.base, options.judge, chosen, options.seed)._asdict()))
