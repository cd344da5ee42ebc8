"""The expected calibration error of a model's top label, with an interval that knows how the estimate is biased.

The error is a sum of absolute values, so chance only ever adds to it: a perfectly calibrated model with confidences
uniform in [0.1, 1] reads 0.19 on 40 images and 0.066 on 355. Resampling the images adds as much once more.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stmbench.measure.resampling import resampled_means
from stmbench.measure.statistics import DRAWS, LEVEL, Floats, Interval

BINS: Final = 15  # of confidence, of equal width (Guo et al. 2017)
CALIBRATED_DRAWS: Final = 400  # answers of a calibrated model, for one quantile


def calibration_error(confidence: Floats, correct: Floats, *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The expected calibration error of (N,) confidences and (N,) hits, as it is defined, and a 95 % interval.

    What resampling adds on average is taken for what the draw of images has added to the estimate. The interval reaches
    from the lower percentile less both of these to the upper one less the first. It starts at 0 where a calibrated
    model of the same confidences reads as much by chance: its 97.5th percentile is not exceeded.
    """
    gaps = bin_gaps(confidence, correct)
    if len(gaps) < 2:
        value = float(np.abs(gaps).sum()) if len(gaps) else float("nan")
        return Interval(estimate=value, low=float("nan"), high=float("nan"), count=len(gaps))
    estimate = _error(gaps)
    drawn = np.abs(resampled_means(gaps, draws=draws, seed=seed)).sum(-1)
    tail = (1 - LEVEL) / 2
    low, high = (float(end) for end in np.quantile(drawn, [tail, 1 - tail]))
    bias = float(drawn.mean()) - estimate
    low = low - 2 * bias if estimate > _by_chance(confidence, 1 - tail, seed=seed) else 0.0
    return Interval(
        estimate=estimate, low=min(estimate, max(0.0, low)), high=max(estimate, high - bias), count=len(gaps)
    )


def bin_gaps(confidence: Floats, correct: Floats, bins: int = BINS) -> Floats:
    """(N, bins) correct minus confidence in the image's bin ((m-1)/bins, m/bins], 0 in the others.

    The expected calibration error is the sum over bins of the absolute value of the mean over images:
    sum_m |B_m|/N * |acc(B_m) - conf(B_m)|.
    """
    places = _places(confidence, bins)
    table = np.zeros((len(confidence), bins))
    table[np.arange(len(confidence)), places] = correct - confidence
    return table


def _by_chance(confidence: Floats, quantile: float, *, seed: int) -> float:
    """A quantile of the error that a calibrated model of these confidences reads: each image right with its own."""
    random, places = np.random.default_rng(seed), _places(confidence, BINS)
    found = []
    for _ in range(CALIBRATED_DRAWS):
        gaps = (random.random(len(confidence)) < confidence) - confidence
        found.append(np.abs(np.bincount(places, weights=gaps, minlength=BINS)).sum() / len(confidence))
    return float(np.quantile(found, quantile))


def _places(confidence: Floats, bins: int) -> NDArray[np.int64]:
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def _error(gaps: Floats) -> float:
    return float(np.abs(gaps.mean(0)).sum())
