"""Conventions are sets of kinds, and a kind that does not exist is refused."""

from __future__ import annotations

import pytest

from stmbench.errors import InputError
from stmbench.measure.counting import Tally

TALLY = Tally(kinds={"conv": 3, "linear": 5, "norm": 7, "sampling": 11}, activations=2, elements_moved=8, params=4)


def test_macs_leave_norms_out_and_conventions_choose() -> None:
    assert TALLY.macs == 3 + 5 + 11
    assert TALLY.under({"conv", "linear"}) == 8
    assert TALLY.under({"conv", "linear", "matmul", "norm", "pool"}) == 15
    assert TALLY.intensity(2) == 19 / 16


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="'attention'"):
        TALLY.under({"conv", "attention"})
