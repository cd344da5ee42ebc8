"""A model's rank in throughput: the ranks that its probabilities allow, never one of them as if it were sure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

from stmbench.figures.display_units import number
from stmbench.figures.matching import alike, match
from stmbench.figures.plot_data import Point

TAIL: Final = 0.025  # left out at either end: the ranks from `low` to `high` hold 95 % or more
SHOWN: Final = 3  # probabilities


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranks:
    """The probabilities of one model's ranks."""

    probabilities: dict[int, float]  # in the order of ranks

    @classmethod
    def of(cls, subject: Point, candidates: Sequence[Point]) -> Ranks | None:
        """Those of the subject's setting; None where there are none."""
        levels = sorted({point.level for point in candidates if point.level >= 1})
        fitting = [point for point in candidates if alike(subject, point)]
        found = {int(level): match(subject, [p for p in fitting if p.level == level]) for level in levels}
        probabilities = {rank: point.value for rank, point in found.items() if point is not None}
        return cls(probabilities=probabilities) if probabilities else None

    @property
    def ends(self) -> tuple[int, int]:
        """The first and the last of the ranks that are left when 2.5 % at most are cut off at either end."""
        order = list(self.probabilities)
        return self._first(order), self._first(order[::-1])

    @property
    def words(self) -> str:
        """'3', or '3–4' where no single rank is sure."""
        low, high = self.ends
        return f"{low}" if low == high else f"{low}–{high}"

    @property
    def detail(self) -> str:
        """The probability of the rank, or of each of them: '68, 32 %'; of many the most probable: '40 % to be 3'."""
        low, high = self.ends
        if high - low < SHOWN:
            inside = [value for rank, value in self.probabilities.items() if low <= rank <= high]
            return f"{', '.join(number(value, 'rank_probability') for value in inside)} %"
        likeliest = max(self.probabilities, key=lambda rank: self.probabilities[rank])
        return f"{number(self.probabilities[likeliest], 'rank_probability')} % to be {likeliest}"

    @property
    def mean(self) -> float:
        """The expected rank: what a table is sorted by."""
        return sum(rank * value for rank, value in self.probabilities.items())

    def _first(self, order: list[int]) -> int:
        total = 0.0
        for rank in order:
            total += self.probabilities[rank]
            if total > TAIL:
                return rank
        return order[-1]
