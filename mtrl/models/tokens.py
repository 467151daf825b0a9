"""Tokens of a text and of a model's chat template: exact where the model's tokenizer is at hand, else estimated.

Prompts of one task differ in a line or two, so each different line is counted once. Qwen's pattern allows that: it ends
a piece at each line break before a character that is no space, and no token spans two pieces. With another pattern a
text is counted whole.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mtrl.core.errors import UserError
from mtrl.core.files import read_json, read_text

FILE = "tokenizer.json"
ESTIMATE, CHAT = 3, 12  # characters per token, and tokens of a chat template, where they are not known
PATTERN = (  # of Qwen2 to Qwen3
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LINES = re.compile(r"(?<=\n)(?=\S)")


@dataclass(frozen=True)
class Counter:
    """Counts the tokens of prompts."""

    count: Callable[[str], int]
    """Of a text."""
    chat: int
    """What the chat template adds to one message of the user, with the start of the answer."""
    exact: bool
    """Neither is estimated."""


def counter(model: Path) -> Counter:
    """For a model's folder; estimated where there is none."""
    file = model / FILE
    if not file.exists():
        return Counter(lambda text: len(text) // ESTIMATE, CHAT, False)
    return _counter(file, file.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)  # loading costs more than thousands of lines
def _counter(file: Path, changed: int) -> Counter:
    count, framed = _exact(file.read_text(encoding="utf-8")), _framed(file.parent, "x")
    return Counter(count, count(framed) - count("x") if framed else CHAT, bool(framed))


def _exact(text: str) -> Callable[[str], int]:
    """A function that counts by the tokenizer in this JSON text."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(text)

    @functools.cache
    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    strip = any(token.lstrip or token.rstrip for token in tokenizer.get_added_tokens_decoder().values())
    if strip or json.dumps(PATTERN) not in text:
        return count
    return lambda text: sum(map(count, _LINES.split(text)))


def _framed(model: Path, text: str) -> str:
    """A message of the user in the model's chat template; "" where there is none, or one that is not filled in so.

    As transformers does it, whose import takes longer than a plan.
    """
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    messages = [{"role": "user", "content": [{"type": "text", "text": text}]}]
    try:
        return environment.from_string(_template(model)).render(messages=messages, add_generation_prompt=True)
    except (TemplateError, UserError, TypeError, ValueError, LookupError):
        return ""


def _template(model: Path) -> str:
    """The text of the model's chat template; "" if it has none. Raises UserError."""
    if (file := model / "chat_template.jinja").exists():
        return read_text(file)
    files = [model / "tokenizer_config.json", model / "chat_template.json"]
    found = [read_json(file).get("chat_template") for file in files if file.exists()]
    return next((template for template in found if isinstance(template, str)), "")
