"""What a history follows: which metrics, which way is worse, and how large a change has to be."""

from __future__ import annotations

import dataclasses
from typing import Final, Literal

Better = Literal["higher", "lower", "neither"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """How a metric's series is read."""

    better: Better
    relative: bool = False  # its noise is a share of its value: steps are looked for in logarithms
    exact: bool = False  # counted, not measured: every change is a step
    by_probe: bool = False  # a speed, to be corrected by the probe that was measured beside it
    smallest: float = 0.0  # change worth a word: a share where relative, else in base units


SPEED: Final = 0.02  # processes of one model differ by 1.5 to 5 % (sd); a level rests on three of them or more
POINT: Final = 0.005  # half a percentage point

METRICS: Final = {
    "throughput": Metric(better="higher", relative=True, by_probe=True, smallest=SPEED),
    "latency": Metric(better="lower", relative=True, by_probe=True, smallest=SPEED),
    "peak_memory": Metric(better="lower", relative=True, smallest=0.01),
    "energy": Metric(better="lower", relative=True, smallest=SPEED),
    "params": Metric(better="lower", exact=True),
    "macs": Metric(better="lower", exact=True),
    "activations": Metric(better="lower", exact=True),
    "accuracy": Metric(better="higher", smallest=POINT),
    "accuracy_top5": Metric(better="higher", smallest=POINT),
    "nll": Metric(better="lower", smallest=POINT),
    "calibration_error": Metric(better="lower", smallest=POINT),
    "brier": Metric(better="lower", smallest=POINT),
    "accuracy_auc": Metric(better="higher", smallest=POINT),
    "consistency_auc": Metric(better="higher", smallest=POINT),
    "consistency_on_correct_auc": Metric(better="higher", smallest=POINT),
    "soft_cross_entropy_auc": Metric(better="lower", smallest=POINT),
    "erf": Metric(better="neither", smallest=0.01),
}
CONDITIONS: Final = {"latency": "p50"}  # of several percentiles, the one that is followed
PROBE: Final = "probe_peak"
BY_LEVEL: Final = (
    "robustness",
    "erf",
)  # analyses whose levels are series of their own; of others only areas


def is_worse(metric: str, before: float, after: float) -> bool | None:
    """Whether going from `before` to `after` is a loss; None where no way is worse, or nothing changed."""
    better = METRICS[metric].better
    if better == "neither" or before == after:
        return None
    return (after > before) == (better == "lower")
