"""Tokens of a text: exactly by the model's tokenizer where it is at hand, else estimated.

Prompts of one task differ in a line or two, so each different line is counted once. Qwen's pattern allows that: it ends
a piece at each line break before a character that is no space, and no token spans two pieces. With another pattern a
text is counted whole.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path

FILE = "tokenizer.json"
ESTIMATE = 3  # characters per token
PATTERN = (  # of Qwen2 to Qwen3
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LINES = re.compile(r"(?<=\n)(?=\S)")


def counter(model: Path) -> Callable[[str], int]:
    """A function from a text to its number of tokens, without those that a chat template adds."""
    file = model / FILE
    return _exact(file, file.stat().st_mtime_ns) if file.exists() else lambda text: len(text) // ESTIMATE


@functools.lru_cache(maxsize=1)  # loading costs more than thousands of lines
def _exact(file: Path, changed: int) -> Callable[[str], int]:
    from tokenizers import Tokenizer

    text = file.read_text(encoding="utf-8")
    tokenizer = Tokenizer.from_str(text)

    @functools.cache
    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    strip = any(token.lstrip or token.rstrip for token in tokenizer.get_added_tokens_decoder().values())
    if strip or json.dumps(PATTERN) not in text:
        return count
    return lambda text: sum(map(count, _LINES.split(text)))
