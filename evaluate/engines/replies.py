"""An endpoint's replies, checked: from the address that was asked, within limits of size and time, of the right types.

The client follows redirects within that address only, takes at most BODY bytes in WHOLE seconds per reply, and asks
for no compression, since a few compressed bytes can become any number. Log-probabilities are used all or not at all:
where one is missing, not a number or not finite, the answer has no confidence.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from operator import itemgetter
from typing import Annotated, Any, NamedTuple, NotRequired

import httpx2
import openai
from pydantic import ConfigDict, Field, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from mtrl.core.errors import UserError
from mtrl.core.parsing import parse_json
from mtrl.core.schema import Stored, validate
from mtrl.evaluate.engines.confidence import Step, step

BODY, WHOLE = 32 << 20, 600.0  # bytes and seconds per reply; ours, ten times what a long answer needs
WAIT = 120.0  # seconds; the client waits for a Retry-After up to this, and gives up if it is longer
BEGUN = "mtrl.begun"


class Origin(NamedTuple):
    """The server that a URL is of."""

    scheme: str
    host: str
    port: int | None


class Refused(openai.OpenAIError):
    """A reply that is not accepted. The client raises it and does not retry."""


class _Limited(httpx2.SyncByteStream):
    """A reply's body. Reading it raises Refused at the limits of size and time."""

    def __init__(self, stream: Any, begun: float) -> None:
        self._stream, self._begun = stream, begun

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for piece in self._stream:
            size += len(piece)
            if size > BODY:
                raise Refused(f"sends more than {BODY:,} bytes for one request")
            if time.monotonic() - self._begun > WHOLE:
                raise Refused(f"had not sent its whole answer after {WHOLE:.0f} s")
            yield piece

    def close(self) -> None:
        self._stream.close()


def client(url: str, timeout: Any) -> httpx2.Client:
    """For openai.OpenAI(http_client=). Raises UserError where `url` is not an http(s) address."""
    try:
        origin = _origin(httpx2.URL(url))
        origin.host.encode("idna")  # as the resolver will
    except (httpx2.InvalidURL, UnicodeError):
        origin = Origin("", "", None)
    if origin.scheme not in ("http", "https") or not origin.host or not 0 < (origin.port or 80) < 65536:
        raise UserError(
            f"--endpoint {url!r} is not an http(s) address", "for example --endpoint http://127.0.0.1:8000/v1"
        )

    def asked(request: Any) -> None:
        request.extensions[BEGUN] = time.monotonic()
        if _origin(request.url) != origin:
            raise Refused(f"redirects to another server, {request.url.scheme}://{request.url.netloc.decode()}")

    def answered(response: Any) -> None:
        coding = response.headers.get("content-encoding", "identity").casefold()
        if coding != "identity":
            raise Refused("sends its answer compressed, although it was asked not to")
        response.stream = _Limited(response.stream, response.request.extensions[BEGUN])

    return openai.DefaultHttpxClient(
        timeout=timeout,
        headers={"Accept-Encoding": "identity"},
        event_hooks={"request": [asked], "response": [answered]},
    )


def _origin(url: Any) -> Origin:
    return Origin(url.scheme, url.host, url.port)


def wait(headers: Any) -> str:
    """When to come back, in words, where a Retry-After is longer than WAIT; else ""."""
    told = str(headers.get("retry-after", ""))
    try:
        seconds = float(told)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return ""
    if not WAIT < seconds < math.inf:
        return ""
    return f"in {seconds / 60:,.0f} minutes" if seconds < 7200 else f"in {seconds / 3600:,.0f} hours"


class _Part(Stored):
    model_config = ConfigDict(extra="ignore")  # what is not used is not built


class _Message(_Part):
    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None  # vLLM's name; older versions and other servers use reasoning_content
    reasoning_content: str | None = None


EXACT = with_config(ConfigDict(strict=True, allow_inf_nan=False))


@EXACT
class _Alternative(TypedDict):
    """A dict, since an answer has hundreds, and objects take five times as long."""

    token: str
    logprob: Annotated[float, Field(le=0.001)]  # at most 0, but servers may round it up


@EXACT
class _Token(_Alternative):
    top_logprobs: NotRequired[list[_Alternative] | None]


class _Logprobs(_Part):
    content: list[_Token] | None = None


class _Choice(_Part):
    message: _Message
    finish_reason: str | None = None
    # wrong ones cost the confidence and not the answer: they stay as they came, and `steps` says what is wrong
    logprobs: Annotated[_Logprobs | Any, Field(union_mode="left_to_right")] = None


class Completion(_Part):
    """A chat completion. Only a message is required: another part that is wrong is not used."""

    choices: list[_Choice] = Field(min_length=1)
    usage: Any = None

    def text(self, style: str) -> str:
        """The answer; in style rl with the reasoning that the server took out of it."""
        message = self.choices[0].message
        text = message.content or message.refusal or ""
        thought = message.reasoning or message.reasoning_content
        return f"<think>{thought}</think>{text}" if style == "rl" and thought and "<think>" not in text else text

    def tokens(self) -> int:
        """Number of generated tokens, 0 where the reply does not say, or says one of over 64 bits."""
        told = self.usage.get("completion_tokens") if isinstance(self.usage, dict) else None
        return told if type(told) is int and 0 <= told < 1 << 63 else 0

    def steps(self) -> list[Step] | None:
        """Each token with its alternatives; None where the reply has none. Raises UserError where they are wrong."""
        if not self.choices[0].logprobs:
            return None
        content = validate(_Logprobs, self.choices[0].logprobs, "logprobs").content or ()
        listed = [(token["token"], token.get("top_logprobs") or [token]) for token in content]
        return [step(text, map(_PAIR, others)) for text, others in listed] or None


_PAIR = itemgetter("token", "logprob")


class _Model(Stored):
    id: str
    owned_by: str | None = None


class Models(Stored):
    data: list[_Model]


def completion(body: bytes) -> Completion:
    """Raises UserError."""
    try:
        return Completion.model_validate_json(body)  # in one pass, in a third of the time
    except ValidationError:  # half of a surrogate pair too, which parse_json takes
        return validate(Completion, parse_json(body, "the answer", strict=False), "the answer")


def models(body: bytes) -> list[_Model]:
    """Raises UserError."""
    return validate(Models, parse_json(body, "the list of models"), "the list of models").data
