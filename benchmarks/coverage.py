"""How often 95 % intervals hold the true value, by simulation.

    python benchmarks/coverage.py ratios         of a ratio of paired rounds that resemble their neighbours
    python benchmarks/coverage.py calibration    of the calibration error, by images and by how much too sure a model is

Ratios are made of normal logarithms, each correlated with the one before by rho (0, 0.3, 0.6), and get their interval
as in a profile; beside it stands what resampling single rounds would give.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from stmbench.measure.bootstrap import block_resamples, paired_ratio
from stmbench.measure.calibration import bin_gaps, calibration_error
from stmbench.measure.statistics import Floats

DRAWS = 500


def ratios(trials: int) -> None:
    """A line for each rho and number of rounds: the share of intervals that hold the true ratio, and their widths."""
    random = np.random.default_rng(0)
    for rho in (0.0, 0.3, 0.6):
        for count in (10, 20, 40, 100, 400):
            held, single, widths = [], [], []
            for seed in range(trials):
                logs = 0.05 * neighbours(rho, count, random)
                found = paired_ratio(np.exp(logs), np.ones(count), draws=DRAWS, seed=seed)
                held.append(found.low <= 1 <= found.high)
                medians = np.median(logs[block_resamples(count, draws=DRAWS, seed=seed)], axis=1)
                low, high = np.quantile(medians, [0.025, 0.975])
                single.append(low <= 0 <= high)
                widths.append(math.log(found.high / found.low) / (high - low))
            print(
                f"rho {rho}  {count:3} rounds  blocks {np.mean(held):.3f}  single rounds {np.mean(single):.3f}  "
                f"times as wide {np.median(widths):.2f}",
                flush=True,
            )


def neighbours(rho: float, count: int, random: np.random.Generator) -> Floats:
    """(count,) standard normal values, each correlated with the one before by `rho`."""
    values = random.standard_normal(count + 50)
    for number in range(1, len(values)):
        values[number] = rho * values[number - 1] + math.sqrt(1 - rho**2) * values[number]
    return values[50:]


def calibration(trials: int) -> None:
    """Confidences uniform in [0.1, 1], of which each image is right with its own, less `too_sure`."""
    random = np.random.default_rng(2)
    for too_sure in (0.0, 0.05, 0.1, 0.2):
        sure = random.uniform(0.1, 1, 200_000)
        true = np.abs(bin_gaps(sure, np.clip(sure - too_sure, 0, 1)).mean(0)).sum()
        for count in (40, 355, 5000):
            held = []
            for seed in range(trials):
                confidence = random.uniform(0.1, 1, count)
                correct = (random.random(count) < confidence - too_sure).astype(float)
                found = calibration_error(confidence, correct, draws=DRAWS, seed=seed)
                held.append(found.low <= true <= found.high)
            print(f"true error {true:.3f}  {count:5} images  {np.mean(held):.3f}", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["ratios", "calibration"])
    parser.add_argument("--trials", type=int, default=500)
    arguments = parser.parse_args()
    {"ratios": ratios, "calibration": calibration}[arguments.what](arguments.trials)


if __name__ == "__main__":
    main()
