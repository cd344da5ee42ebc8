"""The expected calibration error of the top label, with an interval that accounts for the bias of the estimate.

The error is a sum of absolute values, so chance can only increase it: a perfectly calibrated model with confidences
uniform in [0.1, 1] gets 0.19 on 40 images and 0.066 on 355. Resampling the images adds the same bias once more.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stmbench.measure.bootstrap import DRAWS, resampled_means
from stmbench.measure.statistics import LEVEL, Floats, Interval

BINS: Final = 15  # of confidence, of equal width (Guo et al. 2017)
CALIBRATED_DRAWS: Final = 400  # simulated calibrated models, for one quantile


def calibration_error(confidence: Floats, correct: Floats, *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The expected calibration error of (N,) confidences and (N,) hits by its definition, with a 95 % interval.

    The mean increase under resampling estimates the bias that sampling the images has caused. The interval runs from
    the lower percentile minus twice the bias to the upper percentile minus the bias. It starts at 0 if a calibrated
    model with the same confidences would get as much by chance (its 97.5th percentile is not exceeded).
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
    low = low - 2 * bias if estimate > _chance_error(confidence, 1 - tail, seed=seed) else 0.0
    return Interval(
        estimate=estimate, low=min(estimate, max(0.0, low)), high=max(estimate, high - bias), count=len(gaps)
    )


def bin_gaps(confidence: Floats, correct: Floats, bins: int = BINS) -> Floats:
    """(N, bins) correct minus confidence in the image's bin ((m-1)/bins, m/bins], and 0 in the other bins.

    The expected calibration error is the sum over bins of the absolute mean over images:
    sum_m |B_m|/N * |acc(B_m) - conf(B_m)|.
    """
    indices = _bin_indices(confidence, bins)
    table = np.zeros((len(confidence), bins))
    table[np.arange(len(confidence)), indices] = correct - confidence
    return table


def _chance_error(confidence: Floats, quantile: float, *, seed: int) -> float:
    """A quantile of the error of simulated calibrated models: each image is correct with its confidence."""
    random, indices = np.random.default_rng(seed), _bin_indices(confidence, BINS)
    errors = []
    for _ in range(CALIBRATED_DRAWS):
        gaps = (random.random(len(confidence)) < confidence) - confidence
        errors.append(np.abs(np.bincount(indices, weights=gaps, minlength=BINS)).sum() / len(confidence))
    return float(np.quantile(errors, quantile))


def _bin_indices(confidence: Floats, bins: int) -> NDArray[np.int64]:
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def _error(gaps: Floats) -> float:
    return float(np.abs(gaps.mean(0)).sum())
