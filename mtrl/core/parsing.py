"""JSON and YAML text to values, within bounds: any text gives a value or one line of error, in short time.

Bounds: DEPTH levels of nesting, integers of 64 bits, finite numbers, no half of a surrogate pair (UTF-8 cannot hold
one), no key given twice. YAML text has at most YAML_TEXT characters, and NODES values once its aliases are followed.
YAML's scalars are read as in YAML 1.2: yes, no, on and off are text, 1e-6 is a number.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import yaml

from mtrl.core.errors import UserError

DEPTH, NODES = 100, 100_000
YAML_TEXT = 1 << 17  # PyYAML reads about 100 kB per second


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """PyYAML takes the last of two equal keys; here the second is an error. A key of `<<` can be overridden."""
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], yaml.Node] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (other := first.setdefault((key.tag, key.value), key)) is not key:
                problem = f"the key {key.value!r} is given twice (first in line {other.start_mark.line + 1})"
                raise yaml.composer.ComposerError(None, None, problem, key.start_mark)
        return node

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEPTH:
            raise RecursionError
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        """Counts before any value is built: by aliases a small text can be a huge value."""
        node = super().get_single_node()
        _bounded(node)
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if not tag.endswith((":bool", ":float", ":timestamp"))]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?$"),
    list("-+.0123456789"),
)


def parse_yaml(text: str, name: str) -> Any:
    """The value of a YAML text; an error calls it `name`. Raises UserError."""
    try:
        if len(text) > YAML_TEXT:
            raise ValueError(f"it has {len(text):,} characters; {YAML_TEXT:,} are allowed")
        return _bounded(yaml.load(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UserError(f"{name} is not valid YAML: {where}{error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{name} is not valid YAML: {str(error).splitlines()[0]}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is not valid YAML: {_words(error)}") from None
    except (TypeError, AttributeError, LookupError):  # PyYAML itself raises these, for "!!bool x" and the like
        raise UserError(f"{name} is not valid YAML: a value is not of the type that its tag (!!) names") from None


def parse_json(text: str | bytes, name: str, then: str = "", strict: bool = True) -> Any:
    """The value of a JSON text, bytes in UTF-8; an error calls it `name`. Raises UserError; `then` is its next step.

    `strict=False` reads what other programs write: NaN, infinite numbers, and half of a surrogate pair as "?".
    """
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        raw = text.encode("utf-8", "replace")
        decoder = _decoder(strict, _LONG in raw.translate(_DIGITS))
        value = decoder.decode(text)
        halves = _HALF.search(text)
        if halves or _may_be_deep(raw):
            _bounded(value, math.inf, strict)
        if halves and not strict:
            value = decoder.decode(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode())
        return value
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is not valid JSON: {_words(error)}", then) from None


def _may_be_deep(raw: bytes) -> bool:
    """False only where a JSON text has at most DEPTH levels. Looks at its brackets alone, which is fast: each round
    takes the innermost level away, or two. Brackets within strings may be left over."""
    left = raw.translate(None, _NO_BRACKETS)
    for _ in range(DEPTH // 2):
        if not left:
            return False
        left = left.replace(b"[]", b"").replace(b"{}", b"")
    return bool(left)


def _words(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"it is nested deeper than {DEPTH} levels"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    if isinstance(error, UnicodeEncodeError):
        return "it has half of a surrogate pair, which UTF-8 cannot hold"
    return " ".join(str(error).split())[:200]


def _bounded(value: Any, most: float = NODES, strict: bool = True) -> Any:
    """The same value. Raises ValueError if it is out of bounds. Goes level by level, since a value may hold itself."""
    level, count = [value], 1
    for _ in range(DEPTH + 1):
        below: list[Any] = []
        for held in level:
            below += _parts(held, strict)
            if count + len(below) > most:
                raise ValueError(f"it has more than {most:,} values (an alias counts as all that it refers to)")
        if not below:
            return value
        level, count = below, count + len(below)
    raise RecursionError


def _parts(value: Any, strict: bool) -> Iterable[Any]:
    """The parts of a value or a YAML node. Raises ValueError for a text or number out of bounds."""
    if isinstance(value, (dict, yaml.MappingNode)):
        pairs = value.items() if isinstance(value, dict) else value.value
        return [part for pair in pairs for part in pair]
    if isinstance(value, (list, tuple, set, yaml.SequenceNode)):
        return value.value if isinstance(value, yaml.SequenceNode) else value
    if strict and isinstance(value, str):
        value.encode("utf-8")
    elif strict:
        _number(value)
    return ()


def _number(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite")
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise ValueError("an integer does not fit into 64 bits")
    return value


def _integer(text: str) -> Any:
    return _number(int(text) if len(text) <= 20 else 2**64)


def _constant(name: str) -> None:
    raise ValueError(f"{name} is not a finite number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice[:80]!r} is given twice")
    return found


@functools.cache
def _decoder(strict: bool, long: bool) -> json.JSONDecoder:
    """`long`: a number of the text may have more than 64 bits. What is not checked is decoded in C."""
    checked: dict[str, Any] = {"parse_int": _integer} if long else {}
    if strict:
        checked |= {"parse_float": lambda text: _number(float(text)), "parse_constant": _constant}
    return json.JSONDecoder(object_pairs_hook=_object, **checked)


_DIGITS, _LONG = bytes.maketrans(b"123456789", b"000000000"), b"0" * 19  # every integer of 18 digits fits
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # an escape that may be half of a surrogate pair
