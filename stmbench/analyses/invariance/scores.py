"""Answers to images at every level, and what they say: consistency, accuracy, the areas under their curves."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stmbench.measure.bootstrap import mean_intervals
from stmbench.measure.proportions import mean_proportion, proportion
from stmbench.measure.statistics import Interval
from stmbench.tables.files import ArrayFile

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answers(ArrayFile):
    """Of N images at L levels. `labels` and `reference` (the untransformed prediction) are (N,), -1 where unlabelled;
    `predicted`, `cross_entropy` and `moved` (pixels) are (L, N). At a level that an image does not supply it has
    prediction -1 and NaN.
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    reference: NDArray[np.int64]
    predicted: NDArray[np.int64]
    cross_entropy: Floats
    moved: Floats

    @property
    def is_labelled(self) -> bool:
        """Whether accuracy can be said."""
        return bool((self.labels >= 0).all())

    def supplied(self) -> NDArray[np.int64]:
        """(L,) images at each level."""
        return np.asarray((self.predicted >= 0).sum(1))

    def table(self, metric: str) -> tuple[Floats, NDArray[np.bool_]]:
        """(L, N) per-image values of a metric, and (N,) the images that it is a mean over."""
        everyone = np.ones(len(self.indices), dtype=bool)
        same = (self.predicted == self.reference).astype(np.float64)
        match metric:
            case "consistency":
                return same, everyone
            case "accuracy":
                return (self.predicted == self.labels).astype(np.float64), everyone
            case "soft_cross_entropy":
                return self.cross_entropy, everyone
            case _:
                return same, self.reference == self.labels

    def on(self, indices: NDArray[np.int64]) -> Answers:
        """The same of some of the images, in this order."""
        order = np.argsort(self.indices)
        places = order[np.searchsorted(self.indices, indices, sorter=order)]
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return Answers(**{name: array[..., places] for name, array in arrays.items()})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """A metric at each level that every image supplies, and the area under it over the range of these levels."""

    metric: str
    levels: tuple[float, ...]
    intervals: tuple[Interval, ...]
    area: Interval | None


def soft_cross_entropy(logits: Tensor, reference: Tensor) -> Tensor:
    """(B, K) logits, and those of the untransformed images -> (B,) float64 nats, on the CPU.

    -sum_k p_k log q_k, with p the softmax of the reference and q that of `logits`.
    """
    target = reference.double().softmax(1)
    entropy: Tensor = -(target * logits.double().log_softmax(1)).sum(1)
    return entropy.cpu()


def curve(
    answers: Answers, metric: str, levels: tuple[float, ...], *, seed: int, unmoved: float | None = None
) -> Curve | None:
    """One metric over the levels, with intervals over images; None where no image counts.

    The area is by trapezoids, divided by the range, so that it is a mean over levels: of a perfect consistency it is 1.

    Args:
        unmoved: the level at which nothing is transformed: there consistency is 1 by definition, and certain.
    """
    values, counted = answers.table(metric)
    full = np.flatnonzero(answers.supplied() == len(answers.indices))
    order = sorted(full.tolist(), key=lambda place: levels[place])
    if not order or not counted.any():
        return None
    chosen = values[order][:, counted].T  # images, levels
    places = np.array([levels[place] for place in order])
    area = None
    if len(order) > 1:
        weights = np.zeros(len(order))
        steps = np.diff(places) / (places[-1] - places[0])
        weights[:-1] += steps / 2
        weights[1:] += steps / 2
        area = chosen @ weights
    if metric == "soft_cross_entropy":
        joined = chosen if area is None else np.concatenate([chosen, area[:, None]], axis=1)
        intervals = mean_intervals(joined, seed=seed)
        of_area = None if area is None else intervals[-1]
    else:
        intervals = [proportion(column == 1) for column in chosen.T]
        of_area = None if area is None else mean_proportion(np.clip(area, 0, 1))
        if metric != "accuracy":
            known = Interval(estimate=1.0, low=1.0, high=1.0, count=len(chosen))
            intervals = [known if place == unmoved else one for place, one in zip(places, intervals, strict=True)]
    return Curve(metric=metric, levels=tuple(places.tolist()), intervals=tuple(intervals[: len(order)]), area=of_area)


def gather(parts: list[dict[str, Tensor]]) -> Answers:
    """Batches put together; per-image arrays are (B,), per-level ones (L, B)."""
    joined = {name: torch.cat([part[name] for part in parts], dim=-1).numpy() for name in parts[0]}
    return Answers(**joined)
