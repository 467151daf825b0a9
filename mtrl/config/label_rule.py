"""label.rule: which numbers of the label column are yes, and which are no."""

from __future__ import annotations

import operator
import re
from typing import Literal

from pydantic import field_validator, model_validator

from mtrl.core.schema import Model


class Rule(Model):
    """Rows whose number in the label column fits `when` get the verdict `then`, all others the opposite one."""

    when: str
    """One of ">= 6", "<= 3", "== 7", or "highest 3025" / "lowest 3025": the N rows of the highest or lowest numbers."""
    then: Literal["yes", "no"]
    ties: Literal["first", "drop"] | None = None
    """Rows of equal number on both sides of the cut of highest N or lowest N. None: an error. first: the earlier rows
    are inside. drop: all of them are left out."""

    @field_validator("when")
    @classmethod
    def _readable(cls, when: str) -> str:
        if not re.fullmatch(r"(>=|<=|==) *-?\d+(\.\d+)?|(highest|lowest) +\d+", when.strip()):
            raise ValueError('label.rule.when is ">= 6", "<= 6", "== 6", "highest 100" or "lowest 100"')
        return " ".join(re.split(r"(?<=[=a-z]) *(?=[-\d])", when.strip()))

    @model_validator(mode="after")
    def _ties_of_a_rank(self) -> Rule:
        if self.ties and not self.ranks:
            raise ValueError(f"label.rule.ties is for highest N and lowest N; {self.when!r} has no ties, leave it out")
        return self

    @property
    def ranks(self) -> bool:
        """Whether a row's verdict depends on the other rows."""
        return self.when.startswith(("highest", "lowest"))

    def holds(self, numbers: list[float]) -> list[bool | None]:
        """For each row whether it fits; None: left out. Raises ValueError for a rank that the rows cannot give."""
        how, _, value = self.when.partition(" ")
        if how in ("highest", "lowest"):
            return self._ranked(numbers, -1 if how == "highest" else 1, int(value))
        compare = {">=": operator.ge, "<=": operator.le, "==": operator.eq}[how]
        return [bool(compare(number, float(value))) for number in numbers]

    def _ranked(self, numbers: list[float], sign: int, count: int) -> list[bool | None]:
        if count > len(numbers):
            raise ValueError(f"the rule {self.when!r} asks for more than the {len(numbers)} rows there are")
        order = sorted(range(len(numbers)), key=lambda index: sign * numbers[index])
        fits: list[bool | None] = [False] * len(numbers)
        for index in order[:count]:
            fits[index] = True
        if 0 < count < len(numbers) and (cut := numbers[order[count - 1]]) == numbers[order[count]]:
            tied = [index for index, number in enumerate(numbers) if number == cut]
            inside = sum(fits[index] is True for index in tied)
            if self.ties is None:
                raise ValueError(
                    f"the rule {self.when!r} cuts through {len(tied)} rows that all have {cut:.10g}: {inside} "
                    f"of them would be inside. Add ties: first (the earlier rows are inside) or "
                    f"ties: drop (leave all {len(tied)} out)"
                )
            for index in tied if self.ties == "drop" else ():
                fits[index] = None
        return fits
