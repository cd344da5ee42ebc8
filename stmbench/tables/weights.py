"""What the column `weights` says: `random:<seed>`, or the label of a checkpoint."""

from __future__ import annotations

import re
from typing import Final

import pandas as pd

_RANDOM: Final = "random:"
# what a run of `stmbench train` is called; behind it the file's key, where a file holds several sets of weights
_TRAINED: Final = re.compile(r"(?P<source>.+)\.s(?P<seed>\d+)(?P<key>[#+][^:]*)?:[^:]*")


def random_label(seed: int) -> str:
    """The label of untrained weights that `seed` made."""
    return f"{_RANDOM}{seed}"


def is_random(weights: object) -> bool:
    """Whether a cell of the column names untrained weights; an empty one does not."""
    return str(weights).startswith(_RANDOM)


def are_random(weights: pd.Series) -> pd.Series:
    """`is_random` of each cell of the column."""
    return weights.map(is_random).astype(bool)


def recipe_and_seed(weights: object) -> tuple[str, str]:
    """What weights of several seeds have in common, and the seed; ('', '') for a cell that is empty.

    `digits.e12.s0:1a2b` is ('digits.e12', '0'), `random:1` is ('random:', '1'); any other label has no seed.
    """
    label = "" if pd.isna(weights) else str(weights)  # type: ignore[call-overload]
    if is_random(label):
        return _RANDOM, label.removeprefix(_RANDOM)
    found = _TRAINED.fullmatch(label)
    return (found["source"] + (found["key"] or ""), found["seed"]) if found else (label, "")


def weights_words(weights: object) -> str:
    """For people: 'random init', or the checkpoint's label."""
    return "random init" if is_random(weights) else str(weights)
