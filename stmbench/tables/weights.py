"""What the column `weights` says: `random:<seed>`, or the label of a checkpoint."""

from __future__ import annotations

from typing import Final

import pandas as pd

_RANDOM: Final = "random:"


def random_label(seed: int) -> str:
    """The label of untrained weights that `seed` made."""
    return f"{_RANDOM}{seed}"


def is_random(weights: object) -> bool:
    """Whether a cell of the column names untrained weights; an empty one does not."""
    return str(weights).startswith(_RANDOM)


def are_random(weights: pd.Series) -> pd.Series:
    """`is_random` of each cell of the column."""
    return weights.map(is_random).astype(bool)


def weights_words(weights: object) -> str:
    """For people: 'random init', or the checkpoint's label."""
    return "random init" if is_random(weights) else str(weights)
