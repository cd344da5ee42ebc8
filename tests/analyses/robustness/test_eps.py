"""eps as it is written."""

from __future__ import annotations

import pytest

from stmbench.analyses.robustness.attacks import PAPER, eps_of, ordered, words
from stmbench.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [("8/255", 8 / 255), ("0.5/255", 0.5 / 255), (" 2 / 255", 2 / 255), ("0.03", 0.03), ("0", 0.0), ("1", 1.0),
     ("1e-3", 0.001), ("-0", 0.0)],
)  # fmt: skip
def test_it_is_a_fraction_or_a_decimal(text: str, value: float) -> None:
    assert eps_of(text) == value


@pytest.mark.parametrize(
    "text", ["-0.1", "1.01", "8", "256/255", "1/-255", "nan", "inf", "1/0", "a", "", "1/2/3", "8/"]
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"eps .*change --eps"):
        eps_of(text)


@pytest.mark.parametrize("text", [*PAPER, "1/255", "0.25/255", "0.03", "0.001", "0", "1"])
def test_it_is_said_as_it_was_written(text: str) -> None:
    assert words(eps_of(text)) == text


def test_each_comes_once_in_order() -> None:
    assert ordered([0.03, 0.0, 0.01, 0.03]) == (0.0, 0.01, 0.03)
