"""The metrics that a history tracks: which direction is worse, and how large a change must be to count."""

from __future__ import annotations

import dataclasses
from typing import Final, Literal

Better = Literal["higher", "lower", "neither"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """How a metric is tracked."""

    better: Better
    relative: bool = False  # its noise is a share of its value: change points are detected in logarithms
    exact: bool = False  # counted, not measured: every change is a change point
    by_probe: bool = False  # a speed, corrected by the probe measured alongside it
    smallest: float = 0.0  # smallest change to report: a share if relative, else in base units


SPEED: Final = 0.02  # processes of one model differ by 1.5 to 5 % (SD); a level rests on three or more
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
CONDITIONS: Final = {"latency": "p50"}  # of several percentiles, the one that is tracked
PROBE: Final = "probe_peak"
BY_LEVEL: Final = ("robustness", "erf")  # analyses whose levels are separate series; of others only areas


def metric(name: str) -> Metric:
    """How a metric is tracked. Raises KeyError for one that is not."""
    return METRICS[name]


def tracked_metrics() -> tuple[str, ...]:
    """Names of the tracked metrics, in the order in which they are shown."""
    return tuple(METRICS)


def is_tracked_condition(name: str, condition: str | None) -> bool:
    """Whether a metric's rows with this condition are tracked."""
    return CONDITIONS.get(name, condition) == condition


def has_series_by_level(analysis: str) -> bool:
    """Whether each level of an analysis is a separate series; otherwise only areas under curves are tracked."""
    return analysis in BY_LEVEL


def is_worse(name: str, before: float, after: float) -> bool | None:
    """Whether the change from `before` to `after` is for the worse; None without a preferred direction or a change."""
    better = metric(name).better
    if better == "neither" or before == after:
        return None
    return (after > before) == (better == "lower")
