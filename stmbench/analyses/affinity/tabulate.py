"""From the numbers of every image and head to what the table says of a layer and of its heads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from torch import Tensor

from stmbench.measure.bootstrap import mean_intervals
from stmbench.measure.statistics import Floats, Interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    """One value of a layer, or of one of its heads; `level` is the radius, where there is one."""

    metric: str
    interval: Interval
    level: float | None = None
    head: int | None = None


def items(values: Tensor, metrics: Sequence[tuple[str, float | None]], *, seed: int) -> Iterator[Item]:
    """The mean over heads and images with its interval over images, then each head's mean over images.

    Args:
        values: (images, heads, metrics), or (1, heads, metrics) for what all images share, which has no interval.
    """
    table = values.double().cpu().numpy()
    of_images = _nanmean(table, 1)  # images, metrics
    for number, (metric, level) in enumerate(metrics):
        column = of_images[:, number]
        seen = column[np.isfinite(column)]  # an image in which nothing lies on the map has no distance
        yield Item(metric=metric, level=level, interval=_interval(seen, seed))
    of_heads = _nanmean(table, 0)  # heads, metrics
    for head, row in enumerate(of_heads):
        for (metric, level), value in zip(metrics, row, strict=True):
            yield Item(metric=metric, level=level, head=head, interval=_point(float(value), len(table)))


def coefficient_items(coefficients: Mapping[str, Tensor]) -> Iterator[Item]:
    """Learned alpha and beta: the mean over heads, and each head's where they are not all the same."""
    for name, values in coefficients.items():
        numbers = values.double().cpu().numpy()
        yield Item(metric=name, interval=_point(float(numbers.mean()), 1))
        if len(set(numbers.tolist())) > 1:
            for head, value in enumerate(numbers):
                yield Item(metric=name, head=head, interval=_point(float(value), 1))


def _interval(values: Floats, seed: int) -> Interval:
    if len(values) == 0:
        return _point(float("nan"), 0)
    return mean_intervals(values[:, None], seed=seed)[0]


def _point(value: float, count: int) -> Interval:
    return Interval(estimate=value, low=float("nan"), high=float("nan"), count=count)


def _nanmean(table: Floats, axis: int) -> Floats:
    """NaN where all are, without numpy's warning."""
    there = np.isfinite(table)
    total = np.where(there, table, 0.0).sum(axis=axis)
    count = there.sum(axis=axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
