"""Any OpenAI-compatible endpoint as an engine: a judge served by vLLM, or a hosted model.

The first request is sent alone: it shows whether the endpoint answers, and which parameters it does not take. Then
CONCURRENCY requests are in flight. The client retries by itself. Where that is not enough, the answers under way are
still taken, and MtrlError says how to continue. A request that the endpoint rejects (400) becomes an answer with
"rejected: why", as with vLLM. vLLM is also told not to use the sampling of the model's generation_config.json.

The key is OPENAI_API_KEY, if set. It is sent to the endpoint only, and is cut out of everything that comes back,
answers included. What comes back is bounded and checked, see replies.py.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn
from urllib.parse import urlsplit

import openai

from mtrl.converters.readers.picture import Rejected
from mtrl.core.errors import MtrlError, UserError
from mtrl.evaluate.engines import chat, replies
from mtrl.evaluate.engines.base import CONTINUES, Answer, Sampling
from mtrl.evaluate.engines.image_url import data_url
from mtrl.evaluate.engines.request import Request

# All ours. Five retries are about 15 s of the client's own backoff, or as long as the server's Retry-After says.
CONCURRENCY, RETRIES, TIMEOUT = 32, 5, 300.0
REJECTED = 5  # first requests, all rejected: the cause is not the items
PATIENCE = (RETRIES + 1) * (replies.WHOLE + replies.WAIT)  # seconds until an answer, whatever holds it up
SECRET = 8  # characters: a shorter key is a placeholder for a server without keys, and may be a word of an answer
NO_KEY = "EMPTY"  # the client requires one; vLLM's documentation uses this
OPTIONAL = ("logprobs", "max_tokens", "temperature", "top_p", "seed")  # what some models do not take
LATER = f"when it answers again, {CONTINUES}"


class EndpointEngine:
    """Asks `model` at `url`. In style rl, reasoning that a server took out of an answer is put back into it."""

    def __init__(
        self, url: str, model: str, style: str, image: dict[str, int], side: int, say: Callable[[str], None]
    ) -> None:
        """`image` {min_pixels, max_pixels} and `side` are the judge's, see image_url.py. `say` gets notes for the user.

        Raises UserError and MtrlError where nothing answers at `url`, or not to this key.
        """
        http = replies.client(url, openai.Timeout(TIMEOUT, connect=10.0))
        address = urlsplit(url)
        if address.username or address.password or address.query:
            raise UserError(
                "--endpoint has more than an address", "pass the address only; the key goes into OPENAI_API_KEY"
            )
        self._key = os.environ.get("OPENAI_API_KEY", "").strip() or NO_KEY
        if not (self._key.isascii() and self._key.isprintable()):  # else the HTTP client fails, and quotes the key
            raise UserError("OPENAI_API_KEY has characters that no key has", "set it again, in plain ASCII")
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
        """The names of the models that it serves, if it lists them, and whether it is vLLM."""
        try:
            asked = self._client.with_options(max_retries=0, timeout=30.0).models.with_raw_response.list()
            listed = replies.models(asked.content)
            return [model.id for model in listed], any(model.owned_by == "vllm" for model in listed)
        except (
            openai.APIConnectionError, openai.AuthenticationError, openai.PermissionDeniedError, replies.Refused,
        ) as error:  # fmt: skip
            self._explain(error, "start the server, or correct --endpoint (docs/judging-and-serving.md)")
        except (openai.OpenAIError, UserError):
            return [], False  # not every endpoint lists its models; the first request shows what is wrong

    @property
    def continues(self) -> bool:
        """Only vLLM's server does; others would answer anew, after what has begun."""
        return self._is_vllm

    def describe(self) -> dict[str, Any]:
        """For eval.json; `left_out` names the sampling parameters that the endpoint does not take."""
        return {
            "engine": "openai", "version": openai.__version__, "endpoint": self._url, "left_out": sorted(self._without)
        }  # fmt: skip

    def answers(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Answer]:
        """One answer for every request, as they arrive. Raises MtrlError where the endpoint fails."""
        from multiprocessing.pool import ThreadPool  # its threads do not delay Ctrl-C

        waiting = iter(requests)
        first: list[Answer] = []
        failed: list[MtrlError] = []

        def ask(request: Request) -> Answer | None:
            if not failed:
                try:
                    return self._ask(request, sampling)
                except MtrlError as error:
                    failed.append(error)
            return None

        with ThreadPool(CONCURRENCY) as pool:
            for request in waiting:
                answer = self._next(pool.imap_unordered(ask, [request]))
                if not answer:
                    break
                first.append(answer)
                if not answer.finish_reason.startswith("rejected"):
                    break
                if len(first) == REJECTED:
                    reason = answer.finish_reason.removeprefix("rejected: ")
                    raise MtrlError(
                        f"{self._url} rejects every request; the last: {reason}",
                        "fix the cause; nothing was recorded",
                    )
            yield from first
            answers = pool.imap_unordered(ask, waiting)
            with contextlib.suppress(StopIteration):
                while True:
                    if answer := self._next(answers):
                        yield answer
        if failed:
            raise failed[0]

    def _next(self, answers: Any) -> Answer | None:
        try:
            return answers.next(PATIENCE)  # type: ignore[no-any-return]
        except multiprocessing.TimeoutError:
            raise MtrlError(f"{self._url} finished no answer in {PATIENCE / 60:.0f} minutes", LATER) from None

    def _ask(self, request: Request, sampling: Sampling) -> Answer:
        begun = time.monotonic()
        try:
            urls = [data_url(path, self._image, self._side, request.orient) for path in request.images]
            reply = self._create(
                chat.messages(request.prompt, urls, request.prefix), chat.options(request, sampling, self._is_vllm)
            )
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
                f"{self._url} answers with something other than a chat completion ({self._quote(str(error))}): "
                f"{self._quote(reply[:1000].decode(errors='replace'))}",
                f"check the address: it usually ends in /v1; {LATER}",
            ) from None

    def _create(self, messages: Any, wanted: dict[str, Any]) -> bytes:
        """The body of the endpoint's reply. A parameter that it does not take is left out from then on."""
        while True:
            options = dict(wanted)
            for name in self._without & set(options):
                if name == "max_tokens":
                    options["max_completion_tokens"] = options[name]  # its newer name
                del options[name]
            if "logprobs" not in options:
                options.pop("top_logprobs", None)
            options["extra_body"] = {name: options.pop(name) for name in chat.VLLM | chat.CONTINUED if name in options}
            try:
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
                    self._say(f"the endpoint does not take {refused[0]} ({self._quote(_message(error))}): {instead}")

    def _read(self, reply: replies.Completion, request: Request, latency: float) -> Answer:
        steps, text = None, self._cut(reply.text(self._style))
        try:
            steps = reply.steps()
        except UserError as error:
            if not self._warned:
                self._warned = True
                self._say(f"answers without a confidence: the endpoint's {self._quote(str(error), 200)}")
        if request.prefix:  # the reply has only what comes after it
            text = request.prefix + text.removeprefix("<think>")
        ended = self._quote(reply.choices[0].finish_reason or "")
        return Answer(request, text, reply.tokens(), ended, latency, steps)

    def _explain(self, error: Exception, then: str = LATER) -> NoReturn:
        """Raises the client's error in mtrl's words."""
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
            raise UserError(f"{self._url} denies access: {said}", f"set OPENAI_API_KEY to {how}") from None
        if error.status_code == 404:
            names = self._quote(", ".join(self._served[:20]), 600)
            hint = f"it serves: {names}" if names else "check the address: it usually ends in /v1"
            raise UserError(f"{self._url} has no model {self._model!r}: {said}", hint) from None
        if wait := replies.wait(error.response.headers):
            raise MtrlError(
                f"{self._url} asks to come back {wait} (Retry-After): {said}",
                f"then {CONTINUES}",
            ) from None
        if error.status_code == 429:
            raise MtrlError(f"{self._url} still asks to slow down after {RETRIES} retries: {said}", LATER) from None
        raise MtrlError(f"{self._url} fails with status {error.status_code}: {said}", LATER) from None

    def _quote(self, text: str, length: int = 80) -> str:
        """The first `length` characters of a server's text, on one line, without the key and control characters."""
        return " ".join("".join(c if c.isprintable() else " " for c in self._cut(text)).split())[:length]

    def _cut(self, text: str) -> str:
        """The text without the key, and without halves of surrogate pairs, which cannot be written to a file."""
        if self._key != NO_KEY and len(self._key) >= SECRET:
            text = text.replace(self._key, "[key]")
        return text.encode("utf-8", "replace").decode()


def _message(error: Any) -> str:
    """The message of a server's JSON error, or its whole text."""
    body = error.body
    return str(body["message"]) if isinstance(body, dict) and body.get("message") else error.response.text
