"""vLLM in this process: the default engine. Continuous batching over a window of requests, so memory stays constant.

Images are decoded RGB within the judge's range of sizes; the prompt is in the model's own chat template. Requests are
added one by one: in a generate() call, one that vLLM rejects would fail all.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtrl.config.prompting import parts
from mtrl.converters.pipeline.images import load_rgb
from mtrl.core.errors import MtrlError
from mtrl.core.files import read_json
from mtrl.evaluate.engines import cpu
from mtrl.evaluate.engines.base import Answer, Sampling
from mtrl.evaluate.engines.confidence import ALTERNATIVES, Step, step
from mtrl.evaluate.engines.request import Items, Request
from mtrl.models import experts
from mtrl.models.budget import size_of

WINDOW = 256  # answers in flight: enough to keep vLLM's batches full
TEXT_TOKENS = 2048  # for the words of a prompt, next to its images


@dataclass(frozen=True)
class VllmModel:
    """What vLLM loads, and what the requests need of it."""

    checkpoint: str
    """A folder or hub id."""
    min_pixels: int
    max_pixels: int
    """The range of image sizes, in pixels."""
    images: int
    """Most images of one request."""
    max_tokens: int
    """Most tokens of one answer."""
    tensor_parallel: int = 1
    """GPUs that share the model."""


def arguments(model: VllmModel, config: Any, on_cpu: bool) -> dict[str, Any]:
    """vLLM's engine arguments, the same in this process and in its server. `config` is transformers'. On a CPU the size
    of the KV cache is put into the environment, if it is not there."""
    vision, text = config.vision_config, getattr(config, "text_config", config)
    tokens = model.images * -(-model.max_pixels // (vision.patch_size * vision.spatial_merge_size) ** 2)
    longest = min(tokens + TEXT_TOKENS + model.max_tokens, text.max_position_embeddings)
    found = {
        "model": model.checkpoint,
        "trust_remote_code": False,  # a model brings weights, never code that is run
        "load_format": "safetensors",  # a pickle can run code
        "max_model_len": longest,
        "limit_mm_per_prompt": {"image": model.images, "video": 0},
        "mm_processor_kwargs": {"size": size_of({"min_pixels": model.min_pixels, "max_pixels": model.max_pixels})},
        "tensor_parallel_size": model.tensor_parallel,
        "enable_prefix_caching": True,
        "seed": 0,
    }
    if not on_cpu:
        return found
    free = cpu.free_memory()
    size = str(cpu.cache_gib(text, longest, cpu.weights(model.checkpoint, config), free))
    os.environ.setdefault(cpu.VARIABLE, size)
    return found | {
        "block_size": 32,  # whole blocks are shared; vLLM's 128 is longer than a small prompt
        "enforce_eager": True,
        # with prompts in pieces, vLLM resets seeds, which torch's CPU generator cannot: --votes failed
        "enable_chunked_prefill": False,
    }


class VllmEngine:
    """Loads a model. Raises MtrlError with vLLM's reason, in one line, where it fails."""

    continues = True
    note = ""
    """What the user should know before a long wait."""

    def __init__(self, model: VllmModel) -> None:
        checkpoint = model.checkpoint
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # no data is sent to anybody
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        warnings.filterwarnings("ignore", category=FutureWarning)  # from libraries about each other
        if Path(checkpoint).exists():
            os.environ.setdefault("HF_HUB_OFFLINE", "1")
        try:
            import vllm
            from transformers import AutoConfig, AutoTokenizer
            from vllm.platforms import current_platform
        except ImportError as error:
            raise MtrlError(
                f"vLLM cannot be imported here: {error}", "make setup (mtrl doctor shows what is missing)"
            ) from None
        on_cpu = current_platform.is_cpu()
        if on_cpu:
            os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # one process fewer to start
        try:
            config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
            self.note = cpu.note(cpu.weights(checkpoint, config)) if on_cpu else ""
            self._llm = vllm.LLM(**arguments(model, config, on_cpu), disable_log_stats=True)
        except Exception as error:  # vLLM raises whatever its dependencies raise
            raise MtrlError(
                f"vLLM cannot load {checkpoint}: {one_line(error)}", likely_cause(checkpoint, str(error), on_cpu)
            ) from error
        self._tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
        self._version = vllm.__version__

    def describe(self) -> dict[str, Any]:
        return {"engine": "vllm", "version": self._version}

    def answers(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Answer]:
        """One answer for every request, as they finish. The votes on an item are one request of vLLM: its prompt is
        made and computed once."""
        from vllm import SamplingParams

        waiting, engine = Items(requests), self._llm.llm_engine
        flying: dict[str, tuple[dict[int, Request], float]] = {}  # votes without an answer; when asked
        number = 0
        while True:
            while sum(len(votes) for votes, _ in flying.values()) < WINDOW and (votes := next(waiting, None)):
                number += 1
                params = SamplingParams(
                    n=len(votes), max_tokens=sampling.max_tokens, temperature=sampling.temperature,
                    top_p=sampling.top_p, logprobs=ALTERNATIVES if sampling.confidence else None,
                    seed=sampling.seed_of(votes[0]) if sampling.temperature else None,
                )  # fmt: skip
                begun = time.monotonic()
                try:
                    engine.add_request(str(number), self._prompt(votes[0]), params)
                except (ValueError, OSError) as error:  # too long, or an image that can no longer be decoded
                    yield from (Answer(request, "", 0, f"rejected: {one_line(error)}", 0.0) for request in votes)
                    continue
                flying[str(number)] = dict(enumerate(votes)), begun
            if not flying:
                return
            for output in engine.step():
                left, begun = flying[output.request_id]
                for one in output.outputs:
                    if one.finish_reason is not None:
                        latency = time.monotonic() - begun
                        steps = _steps(one.token_ids, one.logprobs) if one.logprobs else None
                        request = left.pop(one.index)
                        yield Answer(
                            request, request.prefix + one.text, len(one.token_ids), one.finish_reason, latency, steps
                        )
                if output.finished:
                    del flying[output.request_id]

    def _prompt(self, request: Request) -> dict[str, Any]:
        text = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": parts(request.prompt)}], add_generation_prompt=True, tokenize=False
        )
        return {
            "prompt": text + request.prefix,
            "multi_modal_data": {"image": [load_rgb(path, request.orient) for path in request.images]},
        }


def _steps(ids: Iterable[int], listed: Iterable[Any]) -> list[Step]:
    """vLLM's log-probabilities, which are by token id, by the tokens' texts."""
    return [
        step(here[token].decoded_token or "", ((p.decoded_token, p.logprob) for p in here.values() if p.decoded_token))
        for token, here in zip(ids, listed, strict=True)
    ]


def one_line(error: BaseException) -> str:
    """The innermost cause of an error, in one line of at most 300 characters."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


def likely_cause(checkpoint: str, message: str, on_cpu: bool = False) -> str:
    """The next step after vLLM could not load a checkpoint, by what is wrong in its folder, else by vLLM's message."""
    folder = Path(checkpoint)
    if folder.is_dir():
        here = {file.name for file in folder.iterdir()}
        gone = sorted({"preprocessor_config.json", "tokenizer_config.json"} - here)
        if not here & {"tokenizer.json", "vocab.json"}:
            gone.append("tokenizer.json")
        if gone:
            return f"{', '.join(gone)} is missing next to the weights: copy it from the base model, as mtrl export does"
        try:
            shapes = {name: shape for name, (_, shape) in experts.headers(folder).items()}
            if not shapes:
                return f"{folder} has no safetensors weights: pass a folder that mtrl export wrote"
            if experts.layout(shapes, read_json(folder / "config.json")) == "transposed":
                return (
                    "its experts have the layout that transformers 5 saves; mtrl export writes the one that vLLM reads"
                )
        except MtrlError as error:
            return str(error)
        except (KeyError, TypeError, AttributeError):
            return f"{folder / 'config.json'} is not this model's: copy it from the base model"
    if on_cpu and ("memory" in message.casefold() or cpu.VARIABLE in message):
        now = os.environ.get(cpu.VARIABLE, "?")
        return f"free some memory, use a smaller model, or set {cpu.VARIABLE}=N, the GiB of its cache (now {now})"
    if "memory" in message.casefold():
        return "share it over more GPUs with --tensor-parallel N, or use a smaller model"
    if not folder.exists():
        return f"there is no folder {checkpoint}; a hub id must be one that this machine can download (hf auth login)"
    return "mtrl doctor"
