"""Jinja text from anybody: prompts, and the templates of upstream configs. Nothing in it can run Python code.

A prompt is text with fields, {{ field }}, {% if %}, and a few filters and tests. It cannot loop, import or calculate,
so it needs no limit of time. A config template is code over the recipe: it runs in Jinja's sandbox, and calls only what
it is given and the methods of plain values. Both are limited in size, before and after they are filled in. Every
mistake in either is one line of UserError.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import StrictUndefined, Template, TemplateError, nodes
from jinja2.runtime import LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mtrl.core.errors import UserError
from mtrl.core.files import read_text

LARGEST = 100_000  # bytes of a template
LONGEST = 1_000_000  # characters of a template that is filled in
NODES = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.List, nodes.Tuple),
    *(nodes.Keyword, nodes.If, nodes.CondExpr, nodes.And, nodes.Or, nodes.Not, nodes.Compare, nodes.Operand),
    *(nodes.Filter, nodes.Test),
)
FILTERS = {"capitalize", "d", "default", "length", "lower", "title", "trim", "truncate", "upper"}
TESTS = {"!=", "==", "defined", "eq", "equalto", "in", "ne", "undefined"}
# What Jinja and Python raise for a template that cannot be parsed, compiled or filled in: the template's code runs.
MISTAKES = (
    *(TemplateError, SyntaxError, ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError),
    *(RecursionError, MemoryError),
)


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**"})
    given: tuple[Any, ...] = ()  # functions that a config template may call

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise ValueError(f"{operator} is allowed between numbers only" if operator == "*" else "** is not allowed")
        return super().call_binop(context, operator, left, right)

    def is_safe_callable(self, obj: Any) -> bool:
        """Jinja's own rule lets a template call every public method, and a Path can write files."""
        own = isinstance(obj, Macro) or any(obj is known for known in (*self.given, *self.globals.values()))
        plain = isinstance(getattr(obj, "__self__", None), str | int | float | list | tuple | dict | LoopContext)
        return (own or plain) and super().is_safe_callable(obj)


@dataclass(frozen=True)
class Prompt:
    """A prompt template that was checked."""

    names: frozenset[str]
    """The fields that it uses."""
    literal: str
    """Its own words, without fields and tags."""
    fill: Callable[[Mapping[str, str], str], str]
    """fill(fields, where): the whole text; `where` names the sample in an error. Raises UserError."""


def prompt(path: Path) -> Prompt:
    """The prompt template at `path`. Raises UserError."""
    return _parsed(read_text(path, limit=LARGEST), path)


@functools.lru_cache(maxsize=64)  # a judge reads its prompts again for each item
def _parsed(text: str, path: Path) -> Prompt:
    environment = _Sandbox(undefined=StrictUndefined, keep_trailing_newline=False)
    environment.globals.clear()  # range, lipsum and the like are not fields
    try:
        tree = environment.parse(text)
        found = list(tree.find_all(nodes.Node))
        for node in found:
            _allowed(node, path)
        template = environment.from_string(tree)
    except MISTAKES as error:
        raise UserError(f"{path} is not a Jinja template: {_line(error)}") from None

    def fill(fields: Mapping[str, str], where: str) -> str:
        try:
            return _filled(template, fields).strip()
        except MISTAKES as error:
            known = ", ".join(fields) or "none"
            raise UserError(f"{path}: {_line(error)} in {where}; its fields: {known}") from None

    names = frozenset(node.name for node in found if isinstance(node, nodes.Name))
    return Prompt(names, "\n".join(node.data for node in found if isinstance(node, nodes.TemplateData)), fill)


def _allowed(node: nodes.Node, path: Path) -> None:
    """Raises UserError for what a prompt may not contain."""

    def reject(what: str, expected: str) -> NoReturn:
        raise UserError(
            f"{path}, line {node.lineno}: {what} is not allowed in a prompt; {expected}", "see docs/prompts.md"
        )

    if not isinstance(node, NODES):
        reject(f"{type(node).__name__!r}", "it may hold text, {{ field }} and {% if %}")
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        reject(f"the filter {node.name!r}", f"filters: {', '.join(sorted(FILTERS))}")
    if isinstance(node, nodes.Test) and node.name not in TESTS:
        reject(f"the test {node.name!r}", f"tests: {', '.join(sorted(TESTS))}")
    if isinstance(node, nodes.Name) and node.name in ("self", "super"):  # Jinja's own objects
        reject(f"the name {node.name!r}", "it is not a field")


def config(path: Path, values: Mapping[str, Any]) -> str:
    """The config template at `path`, filled in with `values`. Raises UserError."""
    environment = _Sandbox(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.given = tuple(value for value in values.values() if callable(value))
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    text = read_text(path, limit=LARGEST)
    try:
        return _filled(environment.from_string(text), plain)
    except MISTAKES as error:
        raise UserError(f"template {path}: {_line(error)}") from None


def _filled(template: Template, values: Mapping[str, Any]) -> str:
    """The text of a template. Raises ValueError as soon as it is longer than LONGEST."""
    pieces, size = [], 0
    for piece in template.generate(values):
        pieces.append(piece)
        size += len(piece)
        if size > LONGEST:
            raise ValueError(f"filled in, it has more than {LONGEST:,} characters")
    return "".join(pieces)


def _line(error: BaseException) -> str:
    """What went wrong, in one line."""
    if isinstance(error, RecursionError | MemoryError):
        return "it is nested too deeply, or needs too much memory"
    return " ".join(str(error).split())[:300] or type(error).__name__
