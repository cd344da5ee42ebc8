"""What labels of weights say."""

from __future__ import annotations

import pandas as pd
import pytest

from stmbench.tables.weights import are_random, is_random, random_label, recipe_and_seed, weights_words


@pytest.mark.parametrize(
    ("label", "random", "words", "parts"),
    [
        (random_label(3), True, "random init", ("random:", "3")),
        ("digits.e12.s0:1a2b", False, "digits.e12.s0:1a2b", ("digits.e12", "0")),
        ("digits.0.1.e12.s10:1a2b", False, "digits.0.1.e12.s10:1a2b", ("digits.0.1.e12", "10")),
        ("digits.e12.s0+resized:1a2b", False, "digits.e12.s0+resized:1a2b", ("digits.e12+resized", "0")),
        ("weights.s1.pth:1a2b", False, "weights.s1.pth:1a2b", ("weights.s1.pth:1a2b", "")),
        (None, False, "None", ("", "")),
        (pd.NA, False, "<NA>", ("", "")),
    ],
)
def test_a_label(label: object, random: bool, words: str, parts: tuple[str, str]) -> None:
    assert is_random(label) is random
    assert weights_words(label) == words
    assert recipe_and_seed(label) == parts


def test_a_column() -> None:
    column = pd.Series(["random:0", None, "digits.e12.s0:1a2b"], dtype="string")
    assert are_random(column).tolist() == [True, False, False]
