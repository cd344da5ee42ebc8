"""Spearman's rank correlation of two quantities over models, and the words for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

DRAWS: Final = 2000


def spearman(x: Sequence[ArrayLike], y: Sequence[ArrayLike], *, seed: int = 0) -> tuple[float, float, float]:
    """The correlation of ranks, ties at their mean rank (Spearman 1904), and its percentile interval over models.

    Draws in which all x or all y are the same have none, and are left out. NaN where x or y are all the same.

    Args:
        x, y: a value for each model, or the values of its trainings, whose mean counts; trainings are resampled within
            each model that is drawn.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(x), size=(DRAWS, len(x)))
    means = []
    for values in (x, y):
        samples = [np.atleast_1d(np.asarray(value, dtype=np.float64)) for value in values]
        resampled = np.column_stack([_resampled_means(sample, rng) for sample in samples])
        own = [sample.mean() for sample in samples]
        means.append(np.vstack([own, np.take_along_axis(resampled, drawn, axis=1)]))
    ranks = [pd.DataFrame(values).rank(axis=1).to_numpy() for values in means]
    a, b = (values - values.mean(axis=1, keepdims=True) for values in ranks)
    size = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    found = np.divide((a * b).sum(axis=1), size, out=np.full(len(size), np.nan), where=size > 0)
    if np.isnan(found[0]):
        return (np.nan,) * 3
    low, high = np.nanpercentile(found[1:], [2.5, 97.5])
    return float(found[0]), float(low), float(high)


def _resampled_means(sample: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """(draws,): of a model's trainings; a model that is drawn twice ties with itself."""
    if len(sample) == 1:
        return np.repeat(sample, DRAWS)
    found: NDArray[np.float64] = sample[rng.integers(len(sample), size=(DRAWS, len(sample)))].mean(axis=1)
    return found


def correlation_words(value: float, low: float, high: float) -> str:
    """'0.80 (95 %: 0.10 to 1.00)'."""
    said = [f"{end:.2f}".replace("-", "\N{MINUS SIGN}") for end in (value, low, high)]
    return f"{said[0]} (95 %: {said[1]} to {said[2]})"
