"""The outlier rule: which rounds are dropped because the machine was disturbed while they ran.

The fixed probe workload decides, never the models: dropping rounds in which a model was slow would bias its figure.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stmbench.measure.statistics import MIN_ROUNDS

MAX_OUTLIER_FRACTION: Final = 0.25  # of the rounds; more of them mean that the machine ran at two speeds: keep them


def outliers(values: ArrayLike, *, threshold: float = 3.0) -> NDArray[np.bool_]:
    """True for values more than `threshold` scaled median absolute deviations from the median; (n,) -> (n,).

    The deviation is scaled by 1.4826, so that it estimates the standard deviation of a normal sample. If more than
    half of the values are equal the deviation is 0 and nothing is an outlier.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        return np.zeros(0, dtype=bool)
    distance = np.abs(data - np.median(data))
    deviation = 1.4826 * np.median(distance)
    if deviation == 0:
        return np.zeros(data.shape, dtype=bool)
    return np.asarray(distance > threshold * deviation)


def kept_rounds(*probes: ArrayLike, min_rounds: int = MIN_ROUNDS) -> NDArray[np.bool_]:
    """True for rounds in which no probe is an outlier; (rounds,) -> (rounds,).

    Args:
        probes: (rounds,) positive seconds or rates each, compared on logarithms. A probe with more than a quarter of
            outliers drops nothing.
        min_rounds: with fewer rounds all are kept.
    """
    logs = [np.log(np.asarray(probe, dtype=np.float64)) for probe in probes]
    keep = np.ones(len(logs[0]), dtype=bool)
    if len(keep) < min_rounds:
        return keep
    for values in logs:
        is_outlier = outliers(values)
        if is_outlier.mean() <= MAX_OUTLIER_FRACTION:
            keep &= ~is_outlier
    return keep
