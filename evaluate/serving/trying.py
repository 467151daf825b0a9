"""One short request to `--endpoint` before its address is served: an endpoint that does not take what mtrl serve asks
is an error at the start, not of each request. What is asked is vLLM's chat completions; other servers take it or not.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from mtrl.config.prompting import MARKER
from mtrl.core.errors import MtrlError, UserError
from mtrl.evaluate.engines import image_url
from mtrl.evaluate.engines.base import Sampling
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.serving.asking import Asking
from mtrl.evaluate.serving.problem import Problem
from mtrl.evaluate.subject import Subject

OTHERS = "serve the model with vLLM; or use mtrl judge or mtrl eval with --endpoint, which ask other servers as well"


async def tried(asking: Asking, judge: Subject, say: Callable[[str], None]) -> None:
    """Asks for one token about an image, and closes `asking`. Raises UserError and MtrlError."""
    from PIL import Image

    buffer, at = io.BytesIO(), asking.server.address
    Image.new("RGB", (64, 64)).save(buffer, "PNG")
    url = image_url.url(buffer.getvalue(), judge.image.model_dump(), judge.side)
    request = Request("", "", "given", 0, f"{MARKER}\nYes or no?", (Path("image"),), "", ("yes", "no"))
    try:
        answer = await asking.ask(request, [url], Sampling(1, confidence=True))
    except Problem as problem:
        wrong = UserError if problem.code == "model_server_denies" else MtrlError
        raise wrong(f"{at}: {problem}", "correct --endpoint, --served-model or OPENAI_API_KEY") from None
    finally:
        await asking.close()
    if answer.finish_reason.startswith("rejected"):
        raise UserError(f"{at} does not take what mtrl serve asks: {answer.finish_reason}", OTHERS)
    if not answer.steps:
        say(f"{at} gives no log-probabilities, so verdicts have no confidence, and /v1/reward fails. {OTHERS}")
