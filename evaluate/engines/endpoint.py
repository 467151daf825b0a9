"""Any OpenAI-compatible endpoint as an engine: a judge served by vLLM, or a hosted model.

The first request goes alone: it says whether the endpoint answers at all, and what it refuses to be told. Then CONCURRENCY
are in flight. The client retries by itself; when that is used up, what is in flight is still taken, and MtrlError says that
the same command goes on. A request refused for its own sake (400) is that row's "rejected: why", as with vLLM.

Images go as stored, byte for byte, but one outside the judge's pixel range goes at the size that the judge would see: the
range holds whatever the server's own is, as long as that is wider, and prompts are token by token the offline engine's.
An image that servers read otherwise than training did (EXIF rotation, transparency, several frames) goes as the RGB that
training saw. What is changed goes as PNG. vLLM is also told not to take sampling from the model's generation_config.json.

The key is OPENAI_API_KEY, if set. It goes to the endpoint and nowhere else: it is cut out of all that comes back, answers too.
What comes back is bounded and checked, see replies.py.
"""

from __future__ import annotations

import base64
import contextlib
import io
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import openai

from mtrl.config.prompting import parts
from mtrl.converters.pipeline import images
from mtrl.converters.readers.picture import Rejected
from mtrl.core.errors import MtrlError, UserError
from mtrl.evaluate.engines import replies
from mtrl.evaluate.engines.base import Answer, Sampling
from mtrl.evaluate.engines.confidence import ALTERNATIVES
from mtrl.evaluate.engines.request import Request
from mtrl.models import budget

# All ours. Five retries are about 15 s of the client's own backoff, or as long as the server's Retry-After says.
CONCURRENCY, RETRIES, TIMEOUT = 32, 5, 300.0
REFUSALS = 5  # so many first requests, all rejected: it is not the rows
PATIENCE = (RETRIES + 1) * (replies.WHOLE + replies.WAIT)  # seconds until an answer, whatever holds it up
SECRET = 8  # characters: a shorter key is a placeholder for a server that wants none, and may be a word of an answer
NO_KEY = "EMPTY"  # the client wants one; vLLM's own documentation calls it so
OPTIONAL = ("logprobs", "max_tokens", "temperature", "top_p", "seed")  # what some models refuse to be told
AS_STORED = ("jpg", "png", "webp")  # formats that every endpoint reads
GOES_ON = "the same command goes on from here, once it answers again"


class EndpointEngine:
    """Asks `model` at `url`. Raises UserError and MtrlError where nothing answers there, or not to this key.

    `style` rl puts reasoning that a server took out of the answer back into it. `image` {min_pixels, max_pixels} and
    `side` are the judge's, see processor.fitted. `say` gets what the user should know.
    """

    def __init__(
        self, url: str, model: str, style: str, image: dict[str, int], side: int, say: Callable[[str], None]
    ) -> None:
        http = replies.client(url, openai.Timeout(TIMEOUT, connect=10.0))
        address = urlsplit(url)
        if address.username or address.password or address.query:
            raise UserError("--endpoint holds more than an address", "give the key as OPENAI_API_KEY")
        self._key = os.environ.get("OPENAI_API_KEY", "").strip() or NO_KEY
        if not (
            self._key.isascii() and self._key.isprintable()
        ):  # a header takes no other, and its error would quote it
            raise UserError("OPENAI_API_KEY holds characters that no key has", "set it again, in plain ASCII")
        self._url, self._model, self._style, self._say = url.rstrip("/"), model, style, say
        self._image, self._side = image, side
        self._client = openai.OpenAI(
            base_url=self._url,
            api_key=self._key,
            max_retries=RETRIES,
            http_client=http,
        )
        self._without: set[str] = set()
        self._warned = False
        self._served, self._is_vllm = self._look()

    def _look(self) -> tuple[list[str], bool]:
        """The names of the models served, as far as it tells, and whether vLLM serves them."""
        try:
            asked = self._client.with_options(max_retries=0, timeout=30.0).models.with_raw_response.list()
            listed = replies.models(asked.content)
            return [model.id for model in listed], any(model.owned_by == "vllm" for model in listed)
        except (
            openai.APIConnectionError, openai.AuthenticationError, openai.PermissionDeniedError, replies.Refused,
        ) as error:  # fmt: skip
            self._explain(error, "start the server, or mend --endpoint (docs/judging-and-serving.md)")
        except (openai.OpenAIError, UserError):
            return [], False  # not every endpoint lists its models; the first request will say what is wrong

    def describe(self) -> dict[str, Any]:
        """For eval.json; `left_out` names the sampling parameters that the endpoint refused."""
        return {
            "engine": "openai", "version": openai.__version__, "endpoint": self._url, "left_out": sorted(self._without)
        }  # fmt: skip

    def answers(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Answer]:
        """Yields an answer for every request, as they arrive. Raises MtrlError when the endpoint gives out."""
        from multiprocessing.pool import ThreadPool  # its threads do not hold up a Ctrl-C

        waiting = iter(requests)
        first: list[Answer] = []
        stop: list[MtrlError] = []

        def ask(request: Request) -> Answer | None:
            if not stop:
                try:
                    return self._ask(request, sampling)
                except MtrlError as error:
                    stop.append(error)
            return None

        with ThreadPool(CONCURRENCY) as pool:
            for request in waiting:
                answer = self._next(pool.imap_unordered(ask, [request]))
                if not answer:
                    break
                first.append(answer)
                if not answer.finish_reason.startswith("rejected"):
                    break
                if len(first) == REFUSALS:
                    reason = answer.finish_reason.removeprefix("rejected: ")
                    raise MtrlError(
                        f"{self._url} rejects every request; the last: {reason}",
                        "fix what it names; nothing was recorded",
                    )
            yield from first
            answers = pool.imap_unordered(ask, waiting)
            with contextlib.suppress(StopIteration):
                while True:
                    if answer := self._next(answers):
                        yield answer
        if stop:
            raise stop[0]

    def _next(self, answers: Any) -> Answer | None:
        try:
            return answers.next(PATIENCE)  # type: ignore[no-any-return]
        except multiprocessing.TimeoutError:
            raise MtrlError(f"{self._url} finished no answer in {PATIENCE / 60:.0f} minutes", GOES_ON) from None

    def _ask(self, request: Request, sampling: Sampling) -> Answer:
        pictures = iter(request.images)
        begun = time.monotonic()
        url = partial(data_url, image=self._image, side=self._side, orient=request.orient)
        try:
            content = [
                {"type": "image_url", "image_url": {"url": url(next(pictures))}} if part["type"] == "image" else part
                for part in parts(request.prompt)
            ]
            reply = self._create(content, sampling.seed_of(request), sampling)
        except (Rejected, OSError) as error:
            return Answer(request, "", 0, f"rejected: {error}", 0.0)
        except openai.APIStatusError as error:
            if error.status_code in (400, 413, 422):
                return Answer(request, "", 0, f"rejected: {self._quote(_message(error), 300)}", 0.0)
            self._explain(error)
        except openai.OpenAIError as error:
            self._explain(error)
        try:
            return self._read(replies.completion(reply), request, time.monotonic() - begun)
        except UserError as error:
            raise MtrlError(
                f"{self._url} answers with something else than a chat completion ({self._quote(str(error))}): "
                f"{self._quote(reply[:1000].decode(errors='replace'))}",
                "is the address whole? it usually ends in /v1. " + GOES_ON,
            ) from None

    def _create(self, content: list[dict[str, Any]], seed: int, sampling: Sampling) -> bytes:
        """The body of the endpoint's reply. What it says it does not support is left out from then on, and said."""
        while True:
            options: dict[str, Any] = {
                "max_tokens": sampling.max_tokens, "temperature": sampling.temperature, "top_p": sampling.top_p,
            }  # fmt: skip
            if sampling.temperature:
                options["seed"] = seed
            if sampling.confidence:
                options["logprobs"] = True
            for name in self._without & set(options):
                if name == "max_tokens":
                    options["max_completion_tokens"] = (
                        sampling.max_tokens
                    )  # its newer name, where the old one is refused
                del options[name]
            if "logprobs" in options:
                options["top_logprobs"] = ALTERNATIVES
            if self._is_vllm:
                options["extra_body"] = {"top_k": -1, "repetition_penalty": 1.0}
            try:
                messages: Any = [{"role": "user", "content": content}]
                asking = self._client.chat.completions.with_raw_response
                return asking.create(model=self._model, messages=messages, **options).content
            except openai.BadRequestError as error:
                said = _message(error).casefold()
                refused = [n for n in OPTIONAL if n in options and n in said and ("support" in said or n == "logprobs")]
                if not refused:
                    raise
                if refused[0] not in self._without:
                    self._without.add(refused[0])
                    instead = "asked as max_completion_tokens" if refused[0] == "max_tokens" else "left out"
                    self._say(f"the endpoint refuses {refused[0]} ({self._quote(_message(error))}): {instead}")

    def _read(self, reply: replies.Completion, request: Request, latency: float) -> Answer:
        steps, text = None, self._cut(reply.text(self._style))
        try:
            steps = reply.steps()
        except UserError as error:
            if not self._warned:
                self._warned = True
                self._say(f"answers without a confidence: the endpoint's {self._quote(str(error), 200)}")
        ended = self._quote(reply.choices[0].finish_reason or "")
        return Answer(request, text, reply.tokens(), ended, latency, steps)

    def _explain(self, error: Exception, then: str = GOES_ON) -> NoReturn:
        """Raises what the client says in the project's words."""
        if isinstance(error, replies.Refused):
            raise MtrlError(f"{self._url} {self._quote(str(error), 300)}", then) from None
        if isinstance(error, openai.APITimeoutError):
            raise MtrlError(f"{self._url} gave no answer in time ({TIMEOUT:.0f} s at most)", then) from None
        if isinstance(error, openai.APIConnectionError):
            raise MtrlError(
                f"{self._url} does not answer: {self._quote(str(error.__cause__ or error))}", then
            ) from None
        if not isinstance(error, openai.APIStatusError):
            raise MtrlError(f"{self._url} cannot be asked: {self._quote(str(error))}", then) from None
        said = self._quote(_message(error))
        if error.status_code in (401, 403):
            how = "its key" if self._key != NO_KEY else "a key"
            raise UserError(f"{self._url} refuses: {said}", f"set OPENAI_API_KEY to {how}") from None
        if error.status_code == 404:
            names = self._quote(", ".join(self._served[:20]), 600)
            hint = f"it serves: {names}" if names else "is the address whole? it usually ends in /v1"
            raise UserError(f"{self._url} knows no model {self._model!r}: {said}", hint) from None
        if wait := replies.wait(error.response.headers):
            raise MtrlError(
                f"{self._url} asks to come back {wait} (Retry-After): {said}",
                "run the same command again then; it goes on from here",
            ) from None
        if error.status_code == 429:
            raise MtrlError(f"{self._url} still asks to slow down after {RETRIES} retries: {said}", GOES_ON) from None
        raise MtrlError(f"{self._url} fails with status {error.status_code}: {said}", GOES_ON) from None

    def _quote(self, text: str, length: int = 80) -> str:
        """The first `length` characters of what a server said, in one line, without the key and control characters."""
        return " ".join("".join(c if c.isprintable() else " " for c in self._cut(text)).split())[:length]

    def _cut(self, text: str) -> str:
        """The text without the key, and without halves of surrogate pairs, which cannot be written to a file."""
        if self._key != NO_KEY and len(self._key) >= SECRET:
            text = text.replace(self._key, "[key]")
        return text.encode("utf-8", "replace").decode()


def _message(error: Any) -> str:
    """What a server says is wrong: the message of its JSON error, or its whole text."""
    body = error.body
    return str(body["message"]) if isinstance(body, dict) and body.get("message") else error.response.text


def data_url(path: Path, image: dict[str, int], side: int, orient: bool = False) -> str:
    """The image as a data: URL, see the module; with `orient` upright. Raises Rejected and OSError."""
    from PIL import Image

    data = images.read(path)
    extension, known = images.check(data)
    picture = images.load_rgb(io.BytesIO(data), orient) if known.notes or extension not in AS_STORED else None
    with contextlib.nullcontext(picture) if picture else Image.open(io.BytesIO(data)) as opened:
        size = opened.size
    wide, high, bounded = budget.fitted(*size, image, side)
    resize = bounded and size != (wide, high)
    if resize or picture:
        picture = picture or images.load_rgb(io.BytesIO(data))
        if resize:
            picture = picture.resize((wide, high), Image.Resampling.BICUBIC)  # what Qwen's processors resize by
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        data, extension = buffer.getvalue(), "png"
    kind = {"jpg": "jpeg"}.get(extension, extension)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
