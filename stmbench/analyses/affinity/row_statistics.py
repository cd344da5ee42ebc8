"""Weighted sums over the rows of an affinity: what all its numbers are made of.

Of a row a_k over the columns k, with the features f(k) of `geometry`:

    S_f = sum_k |a_k| f(k)        L = sum over real columns of |a_k| ln |a_k|        E = sum_k a_k^2

They add up over disjoint columns, and a multiple or a repeated head need not be looked at twice. So an affinity whose
static part has few columns is the dynamic one, less what that has there, plus what the sum has there.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch
from torch import Tensor

from stmbench.analyses.affinity.geometry import FIXED, Geometry
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
    found = sums * factor
    found[..., LOG] += torch.xlogy(factor, factor)[..., 0] * sums[..., REAL]
    found[..., SQUARES] = sums[..., SQUARES] * factor[..., 0].square()
    return found
