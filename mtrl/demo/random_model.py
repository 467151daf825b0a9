"""A Qwen3-VL with random weights, of the 2B's real shape or of a small one, as a Hugging Face folder. No download.

    python -m mtrl.demo.random_model --out FOLDER [--small]

For measurements: its answers mean nothing. The configuration has the keys of the hub's, which transformers 4.57 and 5
both read. The tokenizer is the tiny model's with as many words as Qwen's, so that generated tokens have a text. Needs
torch and transformers; weights are written in bf16: 4.3 GB, from a fixed seed.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from mtrl.core.files import read_json, write_json
from mtrl.demo import walkthrough

WORDS, ROWS = 151_643, 151_936  # words of Qwen's vocabulary without added tokens, and rows of its embedding
SPREAD = 0.02
# [U] config.json of Qwen/Qwen3-VL-2B-Instruct
TEXT: dict[str, Any] = {
    "model_type": "qwen3_vl_text",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "dtype": "bfloat16",
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "initializer_range": SPREAD,
    "intermediate_size": 6144,
    "max_position_embeddings": 262_144,
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-6,
    "rope_scaling": {"mrope_interleaved": True, "mrope_section": [24, 20, 20], "rope_type": "default"},
    "rope_theta": 5_000_000,
    "tie_word_embeddings": True,
    "use_cache": True,
    "vocab_size": ROWS,
}
VISION: dict[str, Any] = {
    "model_type": "qwen3_vl",
    "deepstack_visual_indexes": [5, 11, 17],
    "depth": 24,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_size": 1024,
    "in_channels": 3,
    "initializer_range": SPREAD,
    "intermediate_size": 4096,
    "num_heads": 16,
    "num_position_embeddings": 2304,
    "out_hidden_size": 2048,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
# [O] the same layers, for a CPU
SMALL_TEXT = {
    "head_dim": 32,
    "hidden_size": 64,
    "intermediate_size": 128,
    "max_position_embeddings": 4096,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "num_key_value_heads": 1,
    "rope_scaling": {"mrope_interleaved": True, "mrope_section": [6, 5, 5], "rope_type": "default"},
}
SMALL_VISION = {
    "deepstack_visual_indexes": [0],
    "depth": 2,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_heads": 2,
    "out_hidden_size": 64,
}


def config(small: bool, tokens: dict[str, int]) -> dict[str, Any]:
    """config.json. `tokens`: {added token: id}."""
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "dtype": "bfloat16",
        "tie_word_embeddings": True,
        "transformers_version": "4.57.6",  # without one, transformers warns of tokenizers that other models had
        "image_token_id": tokens["<|image_pad|>"],
        "video_token_id": tokens["<|video_pad|>"],
        "vision_start_token_id": tokens["<|vision_start|>"],
        "vision_end_token_id": tokens["<|vision_end|>"],
        "text_config": {
            **TEXT,
            **(SMALL_TEXT if small else {}),
            "bos_token_id": tokens["<|endoftext|>"],
            "eos_token_id": tokens["<|im_end|>"],
        },
        "vision_config": {**VISION, **(SMALL_VISION if small else {})},
    }


def build(out: Path, small: bool = False) -> None:
    """Writes the folder. Weights are normal with a deviation of SPREAD, norms are 1 and biases 0."""
    out.mkdir(parents=True, exist_ok=True)
    tokens = tokenizer(out)
    ends = [tokens["<|im_end|>"], tokens["<|endoftext|>"]]
    write_json(out / "generation_config.json", {"eos_token_id": ends, "pad_token_id": ends[1]})
    _weights(out, config(small, tokens))
    write_json(out / "config.json", config(small, tokens))  # last: with it the folder is a model


def tokenizer(out: Path) -> dict[str, int]:
    """Writes the tiny model's processor files, the tokenizer with WORDS words. Returns {added token: id}."""
    tiny = walkthrough.tiny()
    for name in ("chat_template.jinja", "preprocessor_config.json", "video_preprocessor_config.json", "merges.txt"):
        shutil.copyfile(tiny / name, out / name)
    shutil.copyfile(tiny / "special_tokens_map.json", out / "special_tokens_map.json")
    words, settings = read_json(tiny / "tokenizer.json"), read_json(tiny / "tokenizer_config.json")
    known = {word: number for word, number in words["model"]["vocab"].items() if word != "<|endoftext|>"}
    vocabulary = {word: number for number, word in enumerate(sorted(known, key=lambda word: known[word]))}
    vocabulary |= {f"w{number}": number for number in range(len(vocabulary), WORDS)}  # no merge leads to them
    words["model"]["vocab"] = vocabulary
    for number, token in enumerate(words["added_tokens"], start=WORDS):
        token["id"] = number
    added = {token["content"]: token["id"] for token in words["added_tokens"]}
    by_name = {token["content"]: token for token in settings["added_tokens_decoder"].values()}
    settings["added_tokens_decoder"] = {str(number): by_name[name] for name, number in added.items()}
    settings["model_max_length"] = TEXT["max_position_embeddings"]
    write_json(out / "tokenizer.json", words)
    write_json(out / "tokenizer_config.json", settings)
    write_json(out / "vocab.json", vocabulary)
    write_json(out / "added_tokens.json", added)
    return added


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """{name of a weight: its shape}; the tied output layer is the embedding, and not listed."""
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(**config))
    return {name: tuple(weight.shape) for name, weight in model.named_parameters() if name != "lm_head.weight"}


def _weights(out: Path, config: dict[str, Any]) -> None:
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    weights = {}
    for name, shape in shapes(config).items():
        if name.endswith("bias"):
            weights[name] = torch.zeros(shape, dtype=torch.bfloat16)
        elif "norm" in name and len(shape) == 1:
            weights[name] = torch.ones(shape, dtype=torch.bfloat16)
        else:
            weights[name] = (torch.randn(shape, device=device) * SPREAD).to("cpu", torch.bfloat16)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="write a Qwen3-VL with random weights")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--small", action="store_true", help="a few layers, for a CPU")
    options = parser.parse_args()
    build(options.out, options.small)
