"""A request as a chat completion's messages and parameters: what every OpenAI-compatible server is sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mtrl.config.prompting import parts
from mtrl.evaluate.engines.base import Sampling
from mtrl.evaluate.engines.confidence import ALTERNATIVES
from mtrl.evaluate.engines.request import Request

VLLM = {"top_k": -1, "repetition_penalty": 1.0}  # else a model's generation_config.json may set them; vLLM's own

CONTINUED = {"add_generation_prompt": False, "continue_final_message": True}  # the last message; vLLM's own


def messages(prompt: str, urls: Iterable[str], prefix: str = "") -> list[dict[str, Any]]:
    """One message of the user: the prompt, with the images in the places of its markers; and what has begun of the
    answer, where `prefix` is not ""."""
    pictures = iter(urls)
    content = [
        {"type": "image_url", "image_url": {"url": next(pictures)}} if part["type"] == "image" else part
        for part in parts(prompt)
    ]
    begun = [{"role": "assistant", "content": prefix}] if prefix else []
    return [{"role": "user", "content": content}, *begun]


def options(request: Request, sampling: Sampling, vllm: bool) -> dict[str, Any]:
    """The parameters of an answer. `vllm`: the server is vLLM, which is told not to use a model's own defaults."""
    found: dict[str, Any] = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    if sampling.temperature:
        found["seed"] = sampling.seed_of(request)
    if sampling.confidence:
        found |= {"logprobs": True, "top_logprobs": ALTERNATIVES}
    return found | (VLLM if vllm else {}) | (CONTINUED if request.prefix else {})
