"""The metrics that a history tracks, as the registry of analyses has them: which direction is worse, and how large a
change must be to count."""

from __future__ import annotations

import dataclasses
from typing import Final, Literal

from stmbench.analyses.registry import metric as registered
from stmbench.analyses.registry import metrics, spec_of

PROBE: Final = "probe_peak"  # the metric that corrects speeds


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackedMetric:
    """How a metric is tracked; the fields are those of `analyses.registry.Tracking`, and the better direction."""

    better: Literal["higher", "lower", "neither"]
    relative: bool = False
    exact: bool = False
    by_probe: bool = False
    smallest: float = 0.0
    condition: str | None = None


def metric(name: str) -> TrackedMetric:
    """How a metric is tracked. Raises KeyError for one that is not."""
    facts = registered(name)
    if facts is None or facts.tracking is None:
        raise KeyError(name)
    return TrackedMetric(better=facts.better, **dataclasses.asdict(facts.tracking))


def tracked_metrics() -> tuple[str, ...]:
    """Names of the tracked metrics, in the order in which they are shown: speeds, counts, then quality."""
    tracking = {name: facts.tracking for name, facts in metrics().items() if facts.tracking is not None}
    return tuple(sorted(tracking, key=lambda name: (not tracking[name].relative, not tracking[name].exact)))


def is_tracked_condition(name: str, condition: str | None) -> bool:
    """Whether a metric's rows with this condition are tracked."""
    tracked = metric(name).condition if name in tracked_metrics() else None
    return tracked is None or tracked == condition


def has_series_by_level(analysis: str) -> bool:
    """Whether each level of an analysis is a separate series; otherwise only areas under curves are tracked."""
    spec = spec_of(analysis)
    return spec is not None and spec.follow_levels


def is_worse(name: str, before: float, after: float) -> bool | None:
    """Whether the change from `before` to `after` is for the worse; None without a preferred direction or a change."""
    better = metric(name).better
    if better == "neither" or before == after:
        return None
    return (after > before) == (better == "lower")
