"""How often 95 % intervals hold the true value, by simulation.

python benchmarks/coverage.py calibration    of the calibration error, by images and by how much too sure a model is
"""

from __future__ import annotations

import argparse

import numpy as np

from stmbench.measure.calibration import bin_gaps, calibration_error


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
                found = calibration_error(confidence, correct, draws=300, seed=seed)
                held.append(found.low <= true <= found.high)
            print(f"true error {true:.3f}  {count:5} images  {np.mean(held):.3f}", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["calibration"])
    parser.add_argument("--trials", type=int, default=300)
    arguments = parser.parse_args()
    calibration(arguments.trials)


if __name__ == "__main__":
    main()
