"""What a label column means: which value is which verdict, by `values` or a `rule`; which rows are left out.

The column of a score task holds its scores, and that of a choice task may hold the choices themselves. Of several
annotators each label is read by the same rule; converters/annotators.py makes one verdict of them.

`Label.verdicts` gives one word per row: a verdict, or the key that leaves the row out ("label.drop",
"label.rule.ties").
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import field_validator, model_validator

from mtrl.config.label_rule import Rule
from mtrl.core.errors import MtrlError, UserError
from mtrl.core.schema import Mistake, Model
from mtrl.reward_plugins import judge

DROP, TIES, CONFLICTS = "label.drop", "label.rule.ties", "label.conflicts"
TIED, UNLABELLED = "ties of annotators", "missing labels"  # of rows that several annotators label


class Label(Model):
    """The column with the label, and what it means: `values`, or a `rule`, or a score task's own numbers."""

    column: str = ""
    """"" where `columns` has them."""
    columns: list[str] = []
    """One per annotator, each with a label of its own. An empty cell is no label."""
    annotator: str | None = None
    """The column that says whose label `column` has: then rows with the same images and fields are one item."""
    values: dict[str, list[str]] = {}
    """{verdict: labels}."""
    rule: Rule | None = None
    """For a column of numbers."""
    round: Literal["nearest", "floor"] | None = None
    """Of a score task whose numbers are not whole: nearest (a half is rounded up) or floor. None: an error."""
    drop: list[str] = []
    """Labels whose rows are left out."""
    conflicts: Literal["drop", "majority", "keep"] | None = None
    """Rows that ask the same (same images, same fields) and have different verdicts. None: an error. drop: all of
    them are left out. majority: those that disagree with the majority, or all where there is none. keep: none, as
    published counts may need."""

    @field_validator("values", "drop", mode="before")
    @classmethod
    def _words(cls, given: Any) -> Any:
        """YAML's numbers, true and false as the words that a table has."""
        if isinstance(given, dict):
            words = {key: _word(key) for key in given}
            if twice := [key for key, times in Counter(words.values()).items() if times > 1]:
                raise ValueError(
                    f"the keys {' and '.join(repr(k) for k in given if words[k] in twice)} are both {twice[0]!r}"
                )
            return {words[key]: cls._words(values) for key, values in given.items()}
        return [_word(value) for value in given] if isinstance(given, list) else given

    @model_validator(mode="after")
    def _once(self) -> Label:
        places: dict[str, str] = {}
        for place, values in [*((f"values.{key}", held) for key, held in self.values.items()), ("drop", self.drop)]:
            for value in values:
                if places.setdefault(value, place) != place:
                    raise ValueError(
                        f"label.{places[value]} and label.{place} both list {value!r}; a value has one meaning"
                    )
        return self

    @field_validator("columns", mode="before")
    @classmethod
    def _several_columns(cls, columns: Any) -> Any:
        if isinstance(columns, str):
            names = ", ".join(name.strip() for name in columns.split(","))
            raise Mistake("it should be a list, one column per annotator", f"write columns: [{names}]")
        return columns

    @model_validator(mode="after")
    def _whose(self) -> Label:
        if not self.column and not self.columns:
            raise ValueError("label.column is missing: the column with the labels")
        if self.columns and (self.column or self.annotator):
            other = "column" if self.column else "annotator"
            raise Mistake(
                f"label takes either columns or {other}; it has both", f"remove label.columns or label.{other}"
            )
        if self.columns and len(set(self.columns)) < max(2, len(self.columns)):
            then = "write columns: [A, B], one per annotator, or for one column: A"
            raise Mistake("label.columns should name two columns or more, each once", then)
        if self.several and self.rule is not None and self.rule.ranks:
            raise ValueError("label.rule ranks rows, which have several labels here: write when as >= or <= a number")
        return self

    @property
    def several(self) -> bool:
        """Whether an item may have labels of several annotators."""
        return bool(self.columns or self.annotator)

    @property
    def required(self) -> list[str]:
        """The columns in which no row may be empty."""
        return [self.annotator] if self.annotator else [] if self.columns else [self.column]

    def of(self, column: str, **changed: Any) -> Label:
        """The same rule for one label, read from `column`."""
        return self.model_copy(update={"column": column, "columns": [], "annotator": None, **changed})

    def check(self, kind: str, choices: tuple[str, ...]) -> None:
        """Raises ValueError, with what to write, where this label gives no verdict for a task of this kind."""
        place = f"columns: [{', '.join(self.columns)}]" if self.columns else f"column: {self.column}"
        how = _how(place + f", annotator: {self.annotator}" * bool(self.annotator), kind, choices)
        if self.round and kind != "score":
            raise ValueError(f"label.round is for kind: score; this task's kind is {kind}")
        if self.rule is not None and kind != "pointwise":
            raise ValueError(f"label.rule is for kind: pointwise. {how}")
        if kind == "score" and self.values:
            raise ValueError(f"label.values is not for a score task. {how}")
        if self.rule is not None and self.values:
            raise ValueError("label takes either values or a rule; this one has both")
        if self.rule is not None or kind == "score" or (kind == "choice" and not self.values):
            return
        if set(self.values) != set(choices):
            said = (
                f"label.values has the keys {' and '.join(self.values)}"
                if self.values
                else "label has no values and no rule"
            )
            other = ""
            if kind == "pointwise" and set(self.values) == set(judge.PAIRWISE):
                other = "kind: pairwise is missing? "
            if kind != "pointwise" and set(self.values) == set(judge.POINTWISE):
                other = f"kind: {kind} is wrong here? "
            raise ValueError(f"{said}. {other}{how}")
        if empty := [verdict for verdict, values in self.values.items() if not values]:
            raise ValueError(f"label.values.{empty[0]} is empty, so no row could get that verdict. {how}")

    def numbers(self, labels: Iterable[Any], choices: tuple[str, ...]) -> list[float | None]:
        """Each label as a number, where the column holds numbers; else None for each."""
        if self.rule is None and not judge.is_scale(choices):
            return [None for _ in labels]
        return [number if math.isfinite(number := _float(value)) else None for value in labels]

    def verdicts(self, labels: Iterable[tuple[Any, str]], choices: tuple[str, ...], task: str) -> list[str]:
        """A verdict, DROP or TIES for each (label, where it is). Raises MtrlError for an unknown label."""
        labels = list(labels)
        dropped = set(self.drop)
        left = [any(form in dropped for form in _forms(value)) for value, _ in labels]
        asked = [label for label, out in zip(labels, left, strict=True) if not out]
        if self.rule is not None:
            found = iter(self._ruled(asked, task))
        elif judge.is_scale(choices):
            found = iter([self._scored(value, where, choices, task) for value, where in asked])
        else:
            found = iter(self._listed(asked, choices, task))
        return [DROP if out else next(found) for out in left]

    def _scored(self, value: Any, where: str, choices: tuple[str, ...], task: str) -> str:
        number = self._number(value, where, task)
        at = f"{where}: score {number:g} in column {self.column!r}"
        if self.round is None and number != int(number):
            raise MtrlError(
                f"{at} is not a whole number, as task {task} needs",
                f"in recipes/tasks/{task}.yaml say under label how to round: round: nearest, or round: floor",
            )
        score = str(math.floor(number + (0.5 if self.round == "nearest" else 0)))
        if score not in choices:
            raise MtrlError(
                f"{at} is not from {choices[0]} to {choices[-1]}, the range of task {task}",
                f"change range in recipes/tasks/{task}.yaml, fix the row, or add the value to label.drop",
            )
        return score

    def _listed(self, labels: list[tuple[Any, str]], choices: tuple[str, ...], task: str) -> list[str]:
        values = self.values or {choice: [choice] for choice in choices}
        verdict_of = {value: verdict for verdict, known in values.items() for value in known}
        same = str if self.values else str.casefold  # the choices themselves are read in any case, as in an answer
        forms = [map(same, _forms(value)) for value, _ in labels]
        found = [next((verdict_of[form] for form in its if form in verdict_of), "") for its in forms]
        unknown = [label for label, verdict in zip(labels, found, strict=True) if not verdict]
        if unknown:
            value, where = unknown[0]
            kinds = Counter(str(value).strip() for value, _ in unknown)
            shown = ", ".join(f"{kind!r} ({number} rows)" for kind, number in kinds.most_common(8))
            known = "; ".join(f"{verdict}: {', '.join(values)}" for verdict, values in values.items())
            raise MtrlError(
                f"{where}: label {value!r} in column {self.column!r} is unknown to task {task} ({known}). "
                f"{len(unknown)} of {len(labels)} rows have a label without a meaning: {shown}",
                f"a judge answers {judge.said(choices)}: add each value to "
                f"{', '.join(f'label.values.{choice}' for choice in choices)} or label.drop in "
                f"recipes/tasks/{task}.yaml",
            )
        return found

    def _ruled(self, labels: list[tuple[Any, str]], task: str) -> list[str]:
        assert self.rule is not None
        try:
            fits = self.rule.holds([self._number(value, where, task) for value, where in labels])
        except ValueError as error:
            raise UserError(
                f"task {task}: {error}", f"set label.rule in recipes/tasks/{task}.yaml (mtrl fit-labels)"
            ) from None
        word = {True: self.rule.then, False: "no" if self.rule.then == "yes" else "yes", None: TIES}
        return [word[fit] for fit in fits]

    def _number(self, value: Any, where: str, task: str) -> float:
        number = _float(value)
        if not math.isfinite(number):
            raise MtrlError(
                f"{where}: label {str(value)[:80]!r} in column {self.column!r} is not a number, as task {task} needs",
                f"fix the row, or add the value to label.drop in recipes/tasks/{task}.yaml",
            )
        return number


def _float(value: Any) -> float:
    """NaN for what is no number."""
    try:
        return math.nan if isinstance(value, bool) else float(str(value).strip())
    except ValueError:
        return math.nan


def _word(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).strip() if isinstance(value, int | float | str) else value


def _forms(value: Any) -> list[str]:
    """The words that a cell matches, its own first: true of JSON also `true`, 4.0 of parquet also `4`."""
    forms = [str(value).strip()]
    if isinstance(value, bool):
        forms.append(str(value).lower())
    if isinstance(value, float) and value.is_integer():
        forms.append(str(int(value)))
    return forms


def _how(column: str, kind: str, choices: tuple[str, ...]) -> str:
    if kind == "score":
        return f"A score task reads its scores from the column: write label: {{{column}}}"
    if kind == "choice":
        mapped = ", ".join(f"{choice}: [...]" for choice in choices)
        return (
            f"Write label: {{{column}}} where the column has the choices, else "
            f"label: {{{column}, values: {{{mapped}}}}}"
        )
    if kind == "pairwise":
        tie = ", tie: [both]" if len(choices) > 2 else ""
        return (
            f"A judge of a pair answers {judge.said(choices)}: the first or the second is better. Write "
            f'label: {{{column}, values: {{"1": [left], "2": [right]{tie}}}}}'
        )
    return (
        "A judge of one image answers yes or no. Write, with your own values, "
        f"label: {{{column}, values: {{yes: [4, 5], no: [1, 2]}}, drop: [3]}}, or for numbers "
        f'label: {{{column}, rule: {{when: ">= 4", then: yes}}}}'
    )
