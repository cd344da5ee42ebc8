"""McNemar's test against published and computed values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stmbench.measure import mcnemar as module
from stmbench.measure.mcnemar import mcnemar


def _hits(only_first: int, only_second: int, both: int = 3, neither: int = 2) -> tuple[list[bool], list[bool]]:
    first = [True] * only_first + [False] * only_second + [True] * both + [False] * neither
    second = [False] * only_first + [True] * only_second + [True] * both + [False] * neither
    return first, second


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 2 / 2**5),
        (10, 2, 2 * (1 + 12 + 66) / 2**12),
        (6, 6, 1.0),
        (9, 1, 22 / 1024),
        (470, 530, 0.06202319509836343),  # scipy.stats.binomtest(470, 1000)
    ],
)
def test_few_discordant_images_are_counted_exactly(only_first: int, only_second: int, p: float) -> None:
    test = mcnemar(*_hits(only_first, only_second))
    assert test.exact
    assert test.p == pytest.approx(p, rel=1e-12)
    assert (test.only_first, test.only_second, test.discordant) == (only_first, only_second, only_first + only_second)
    assert mcnemar(*reversed(_hits(only_first, only_second))).p == test.p


def test_many_take_the_corrected_chi_square(monkeypatch: pytest.MonkeyPatch) -> None:
    test = mcnemar(*_hits(121, 99))
    monkeypatch.setattr(module, "EXACT_UP_TO", 25)
    approximate = mcnemar(*_hits(121, 99))
    statistic = (abs(121 - 99) - 1) ** 2 / 220
    assert not approximate.exact
    assert approximate.p == pytest.approx(math.erfc(math.sqrt(statistic / 2)))
    assert approximate.p == pytest.approx(test.p, rel=0.01)
    monkeypatch.undo()
    assert mcnemar(*_hits(600, 600)).p == 1.0
    assert not mcnemar(*_hits(600, 600)).exact


def test_fair_coins_are_rejected_no_more_often_than_promised() -> None:
    rng = np.random.default_rng(0)
    rejected = [mcnemar(rng.random(80) < 0.5, rng.random(80) < 0.5).p < 0.05 for _ in range(2000)]
    assert 0.01 < np.mean(rejected) <= 0.05


def test_other_images_are_no_comparison() -> None:
    with pytest.raises(ValueError, match="same images"):
        mcnemar([True], [True, False])
