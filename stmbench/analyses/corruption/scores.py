"""From answers to mean accuracies, corruption errors and their means (Hendrycks and Dietterich 2019, section 4)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stmbench.analyses.corruption.options import CLEAN, CORRUPTIONS
from stmbench.measure.bootstrap import percentile_interval, resampled_means
from stmbench.measure.effects import mean_difference
from stmbench.measure.proportions import mean_proportion
from stmbench.measure.statistics import Floats, Interval
from stmbench.tables.files import ArrayFile


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answers(ArrayFile):
    """A model's answers to N images under one corruption: `predicted` is (L, N) over severities, 1 row where clean."""

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]

    @property
    def hits(self) -> NDArray[np.bool_]:
        """(L, N) whether the answer is the label."""
        return np.asarray(self.predicted == self.labels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Errors:
    """What a model gets wrong, image by image.

    `clean` is (N,), of the uncorrupted images; `corrupted` has for each corruption the (N,) mean over severities.
    """

    indices: NDArray[np.int64]
    clean: Floats
    corrupted: Mapping[str, Floats]

    @classmethod
    def of(cls, answers: Mapping[str, Answers]) -> Errors:
        """Of the images that all answers are to; answers to clean images are needed, any corruption may be missing."""
        common = functools.reduce(np.intersect1d, (one.indices for one in answers.values()))
        means = {}
        for name, one in answers.items():
            order = np.argsort(one.indices)
            places = order[np.searchsorted(one.indices, common, sorter=order)]
            means[name] = 1 - one.hits[:, places].mean(0)
        clean = means.pop(CLEAN)
        return cls(indices=common, clean=clean, corrupted={name: means[name] for name in CORRUPTIONS if name in means})

    def on(self, indices: NDArray[np.int64]) -> Errors:
        """The same of some of the images."""
        places = np.searchsorted(self.indices, indices)
        corrupted = {name: values[places] for name, values in self.corrupted.items()}
        return Errors(indices=indices, clean=self.clean[places], corrupted=corrupted)

    def mean_accuracy(self, names: tuple[str, ...]) -> Interval:
        """The mean over these corruptions and all severities, with an interval over images."""
        return mean_proportion(1 - np.mean([self.corrupted[name] for name in names], axis=0))


def differences(
    model: Mapping[str, Answers], baseline: Mapping[str, Answers], names: tuple[str, ...]
) -> list[Interval]:
    """Accuracy of the model minus the baseline's at each severity: the mean over these corruptions, paired by image."""
    sides = [side[name] for side in (model, baseline) for name in names]
    common = functools.reduce(np.intersect1d, (one.indices for one in sides))
    hits = []
    for one in sides:
        order = np.argsort(one.indices)
        hits.append(one.hits[:, order[np.searchsorted(one.indices, common, sorter=order)]].astype(np.float64))
    each = np.mean(hits[: len(names)], axis=0) - np.mean(hits[len(names) :], axis=0)  # severities, images
    return [mean_difference(of_severity) for of_severity in each]


class Ratio(NamedTuple):
    """A ratio of errors; without an estimate, or with one and no interval (NaN ends), `reason` says why."""

    interval: Interval | None
    reason: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorruptionErrors:
    """Errors as ratios to the baseline's: CE and relative CE of each corruption, and their means over all of them."""

    each: Mapping[str, Ratio]
    mean: Ratio
    each_relative: Mapping[str, Ratio]
    mean_relative: Ratio


def corruption_errors(model: Errors, baseline: Errors, *, seed: int) -> CorruptionErrors:
    """CE_c = E_c / B_c and relative CE_c = (E_c - E) / (B_c - B), with E the model's and B the baseline's error rates.

    The rates with an index are means over the severities of corruption c, those without are of the clean images. Only
    images and corruptions that both have count. Intervals are percentiles of 2,000 bootstrap resamples of the images,
    the same images for the model and the baseline, which pairs them.
    """
    common = np.intersect1d(model.indices, baseline.indices)
    model, baseline = model.on(common), baseline.on(common)
    names = [name for name in model.corrupted if name in baseline.corrupted]
    columns = [[*(side.corrupted[name] for name in names), side.clean] for side in (model, baseline)]
    table = np.array([column for side in columns for column in side]).T  # images, 2 (corruptions + 1)
    draws = resampled_means(table, seed=seed) if len(table) > 1 else np.empty((0, table.shape[1]))
    means = np.concatenate([table.mean(0, keepdims=True), draws])  # the first row is the estimate
    ours, theirs = means[:, : len(names) + 1], means[:, len(names) + 1 :]
    absolute = ours[:, :-1], theirs[:, :-1], "makes no error"
    relative = ours[:, :-1] - ours[:, -1:], theirs[:, :-1] - theirs[:, -1:], "loses no accuracy"
    each, mean = _ratios(names, *absolute, count=len(common))
    each_relative, mean_relative = _ratios(names, *relative, count=len(common))
    return CorruptionErrors(each=each, mean=mean, each_relative=each_relative, mean_relative=mean_relative)


def _ratios(
    names: list[str], above: Floats, below: Floats, fault: str, *, count: int
) -> tuple[dict[str, Ratio], Ratio]:
    """Of (1 + draws, corruptions) numerators and denominators; a ratio to nothing, or to less, has no meaning."""
    usable = below > 1e-12
    with np.errstate(all="ignore"):
        values = np.where(usable, above / below, np.nan)
    each = {}
    for place, name in enumerate(names):
        reason = None if usable[:, place].all() else f"the baseline {fault} under {name}"
        each[name] = _ratio(values[:, place], reason, count)
    wrong = [name for place, name in enumerate(names) if not usable[:, place].all()]
    return each, _ratio(values.mean(1), f"the baseline {fault} under {', '.join(wrong)}" if wrong else None, count)


def _ratio(values: Floats, reason: str | None, count: int) -> Ratio:
    """From the estimate and its draws."""
    estimate = float(values[0])
    if np.isnan(estimate):
        return Ratio(None, reason)
    if reason is not None:
        return Ratio(percentile_interval(estimate, values[:0], count), f"{reason} in some resamples")
    return Ratio(percentile_interval(estimate, values[1:], count))
