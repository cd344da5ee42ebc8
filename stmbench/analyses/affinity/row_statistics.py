"""Weighted sums over the rows of an affinity: what all its numbers are made of.

Of a row a_k over the columns k, with the features f(k) of `geometry`:

    S_f = sum_k |a_k| f(k)        L = sum over real columns of |a_k| ln |a_k|        E = sum_k a_k^2

They add up over disjoint columns, and a multiple or a repeated head need not be looked at twice. So an affinity whose
static part has few columns is the dynamic one, less what that has there, plus what the sum has there.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from stmbench.analyses.affinity.layers import FIXED, Geometry
from stmbench.measure.bootstrap import mean_intervals
from stmbench.measure.statistics import Floats, Interval
from stmbench.mixers.affinity import Affinity, RepeatedHeads, ScaledAffinity

LOG, SQUARES = -2, -1  # places of L and E, after the features
REAL, PADDING, DISTANCE, DY, DX, OWN = range(len(FIXED))
BLOCK = 2**22  # numbers in a block of rows
FOR_A_COLUMN = 24  # features, and what they are made of


def query_blocks(*affinities: Affinity) -> Iterator[Tensor]:
    """All output positions in order, in pieces that keep the memory bounded where all of these are looked at."""
    count = max(sum(map(numbers_of_a_row, affinities)), 1)
    places = torch.arange(affinities[0].shape[2], device=affinities[0].columns.padding.device)
    yield from torch.split(places, max(1, BLOCK // count))


@functools.singledispatch
def row_sums(affinity: Affinity, queries: Tensor, geometry: Geometry) -> Tensor:
    """(Q,) long -> (B or 1, heads, Q, features + 2): S_f for each feature, then L and E."""
    columns, weights = affinity.entries(queries)
    return entry_sums(geometry.features(queries, columns), weights)


@row_sums.register
def _(affinity: ScaledAffinity, queries: Tensor, geometry: Geometry) -> Tensor:
    return _scaled(row_sums(affinity.affinity, queries, geometry), affinity.factor.abs().float())


@row_sums.register
def _(affinity: RepeatedHeads, queries: Tensor, geometry: Geometry) -> Tensor:
    return row_sums(affinity.affinity, queries, geometry).repeat_interleave(affinity.times, dim=1)


def part_sums(static: Affinity, dynamic: Affinity, queries: Tensor, geometry: Geometry) -> dict[str, Tensor]:
    """The sums of two parts and of the whole that they add up to, and the inner products of their rows.

    Returns:
        whole, static, dynamic: (B or 1, heads, Q, features + 2); product: (B, heads, Q).
    """
    columns, weights = static.entries(queries)
    features = geometry.features(queries, columns)
    here = at(dynamic, queries, columns)
    dynamic_here = entry_sums(features, here)
    # where the static part knows of no zeros, the dynamic one was seen as a whole
    is_full = columns.shape[-1] == static.shape[3]
    dynamic_sums = dynamic_here if is_full else row_sums(dynamic, queries, geometry)
    return {
        "whole": dynamic_sums - dynamic_here + entry_sums(features, here + weights),
        "static": entry_sums(features, weights),
        "dynamic": dynamic_sums,
        "product": (here * weights).float().sum(dim=-1),
    }


def entry_sums(features: Tensor, weights: Tensor) -> Tensor:
    """Features (Q, K, F) or (B, heads, Q, K, F) and weights (B, heads, Q, K) -> (B, heads, Q, F + 2)."""
    weights = weights.float()
    mass = weights.abs()
    if features.ndim == 3:
        batch, heads, queries, _ = mass.shape
        rows = mass.flatten(0, 1).transpose(0, 1)  # Q, B * heads, K
        sums = (rows @ features).transpose(0, 1).reshape(batch, heads, queries, -1)
    else:
        sums = (mass[..., None, :] @ features)[..., 0, :]
    log = (torch.xlogy(mass, mass) * features[..., REAL]).sum(dim=-1)
    return torch.cat((sums, torch.stack((log, weights.square().sum(dim=-1)), dim=-1)), dim=-1)


@functools.singledispatch
def at(affinity: Affinity, queries: Tensor, columns: Tensor) -> Tensor:
    """The weights of some columns: (Q,) and (Q, K) long -> (B, heads, Q, K)."""
    rows = affinity.rows(queries)
    return rows.gather(3, columns.expand(*rows.shape[:3], -1))


@at.register
def _(affinity: ScaledAffinity, queries: Tensor, columns: Tensor) -> Tensor:
    return at(affinity.affinity, queries, columns) * affinity.factor


@at.register
def _(affinity: RepeatedHeads, queries: Tensor, columns: Tensor) -> Tensor:
    return at(affinity.affinity, queries, columns).repeat_interleave(affinity.times, dim=1)


@functools.singledispatch
def numbers_of_a_row(affinity: Affinity) -> int:
    """How many numbers one row takes: the weights of all images and heads, and what is worked out for its columns."""
    first = torch.zeros(1, dtype=torch.long, device=affinity.columns.padding.device)
    columns, weights = affinity.entries(first)
    return weights.numel() + FOR_A_COLUMN * columns.numel()


@numbers_of_a_row.register(ScaledAffinity)
@numbers_of_a_row.register(RepeatedHeads)
def _(affinity: ScaledAffinity | RepeatedHeads) -> int:
    return numbers_of_a_row(affinity.affinity)


def _scaled(sums: Tensor, factor: Tensor) -> Tensor:
    """The sums of `factor` times an affinity: |ca| ln |ca| = c (|a| ln |a| + |a| ln c)."""
    scaled = sums * factor
    scaled[..., LOG] += torch.xlogy(factor, factor)[..., 0] * sums[..., REAL]
    scaled[..., SQUARES] = sums[..., SQUARES] * factor[..., 0].square()
    return scaled


NAMES = (
    "attention_distance",
    "affinity_entropy",
    "self_weight",
    "centroid_offset",
    "centroid_y",
    "centroid_x",
    "padding_mass",
)
WITHIN = "mass_within"  # one for each radius, after these
PARTS_ONLY = ("static_agreement", "static_share")  # of mixers with a static and a dynamic part
TINY = 1e-30


def layer_numbers(affinity: Affinity, geometry: Geometry) -> dict[str, Tensor]:
    """Means over the output positions, for each image and head.

    Returns:
        whole, and static and dynamic where there are both parts: (B or 1, heads, len(NAMES) + radii); 1 where the
        images share the weights. parts, where there are both: (B, heads, len(PARTS_ONLY)).
    """
    static, dynamic = affinity.static, affinity.dynamic
    numbers: dict[str, list[Tensor]] = {}
    if static is None or dynamic is None:
        for queries in query_blocks(affinity):
            numbers.setdefault("whole", []).append(row_numbers(row_sums(affinity, queries, geometry)))
    else:
        for queries in query_blocks(static, dynamic):
            sums = part_sums(static, dynamic, queries, geometry)
            for part in ("whole", "static", "dynamic"):
                numbers.setdefault(part, []).append(row_numbers(sums[part]))
            numbers.setdefault("parts", []).append(_compared(sums))
    # a row without any mass on the input has no distance: it is left out of the means
    return {part: torch.cat(rows, dim=2).double().nanmean(dim=2) for part, rows in numbers.items()}


def row_numbers(sums: Tensor) -> Tensor:
    """Sums (B, heads, Q, ...) of rows -> (B, heads, Q, len(NAMES) + radii)."""
    mass = sums[..., REAL]
    # after a subtraction what is left of nothing is a rounding error, not a mass
    mass = torch.where(mass > TINY, mass, torch.nan)
    share = sums / mass[..., None]
    entropy = (mass.log() - share[..., LOG]) / math.log(2)
    offset = torch.hypot(share[..., DY], share[..., DX])
    padding = sums[..., PADDING] / (sums[..., REAL] + sums[..., PADDING])
    named = (
        share[..., DISTANCE],
        entropy.clamp(min=0),
        share[..., OWN],
        offset,
        share[..., DY],
        share[..., DX],
        padding,
    )
    return torch.cat((torch.stack(named, dim=-1), share[..., len(FIXED) : LOG]), dim=-1)


def _compared(sums: dict[str, Tensor]) -> Tensor:
    """(B, heads, Q, 2): the cosine of the two parts' rows, and the static part's share of the mass of both."""
    static, dynamic = sums["static"], sums["dynamic"]
    cosine = sums["product"] / (static[..., SQUARES] * dynamic[..., SQUARES]).sqrt().clamp(min=TINY)
    masses = [part[..., REAL] + part[..., PADDING] for part in (static, dynamic)]
    return torch.stack((cosine, masses[0] / (masses[0] + masses[1])), dim=-1)


def metric_levels(radii: Sequence[float]) -> list[tuple[str, float | None]]:
    """(metric, level) of each number, in order."""
    return [*((name, None) for name in NAMES), *((WITHIN, radius) for radius in radii)]


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
