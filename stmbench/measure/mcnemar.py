"""McNemar's test (1947): do two models differ on the same images? Only images that one alone gets right can tell."""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

EXACT_UP_TO: Final = 1000  # discordant pairs; beyond, the corrected chi-square p is within 2 % of the exact one


@dataclasses.dataclass(frozen=True, kw_only=True)
class McNemar:
    """How many images only the first gets right, how many only the second, and the two-sided p of no difference."""

    only_first: int
    only_second: int
    p: float
    exact: bool

    @property
    def discordant(self) -> int:
        """The images that the test stands on."""
        return self.only_first + self.only_second


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """The test of two (N,) arrays of hits on the same images in the same order.

    Under no difference each discordant image is a fair coin: p = min(1, 2 P(Binomial(b + c, 1/2) <= min(b, c))), exact
    up to 1000 discordant images; beyond, chi-square with one degree of freedom and Edwards' continuity correction,
    (|b - c| - 1)^2 / (b + c).
    """
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"expected two sets of hits on the same images, got shapes {a.shape} and {b.shape}")
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    total, fewer = only_first + only_second, min(only_first, only_second)
    exact = total <= EXACT_UP_TO
    if exact:
        tail = sum(math.comb(total, k) for k in range(fewer + 1))
        p = min(1.0, 2 * tail / 2**total)  # integers divide exactly rounded, however large
    else:
        p = math.erfc(math.sqrt(max(0, abs(only_first - only_second) - 1) ** 2 / total / 2))
    return McNemar(only_first=only_first, only_second=only_second, p=p, exact=exact)
