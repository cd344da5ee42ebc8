"""Linear CKA by unbiased minibatches, effective rank and uniformity, with their intervals; float64 throughout.

CKA works on U-centred Gram matrices A of n images (Székely and Rizzo 2014), in which HSIC_1 of Song et al. 2012 is
sum(A * B) / (n (n - 3)). A is symmetric with a diagonal of 0, so its upper triangle is kept.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stmbench.measure.bootstrap import jackknife_interval
from stmbench.measure.statistics import Interval

Floats = NDArray[np.float64]
LEAST: Final = 4  # images of a minibatch: HSIC_1 divides by n - 3
AT_ONCE: Final = 2**23  # float64 values of features, or of pairs, held at a time
ROUNDING: Final = 1e-12  # share of the mean square norm, up to which features are constant but for rounding
GROUPS: Final = 64  # that a jackknife leaves out one after another, where one image at a time would take long
SHARPNESS: Final = 2.0  # t of the uniformity's Gaussian potential


def centred_gram(features: Tensor) -> Floats:
    """(n, ...) features of a minibatch -> (n (n - 1) / 2,) upper triangle of their U-centred Gram matrix.

    It is 0 where the features are constant but for rounding.
    """
    x, n = features.flatten(1), len(features)
    products = torch.zeros(n, n, dtype=torch.float64, device=x.device)
    square_norm = 0.0
    for part in torch.split(x, max(1, AT_ONCE // n), dim=1):
        part = part.double()
        square_norm += float(part.square().sum()) / n
        part = part - part[:1]  # a shift changes no U-centred product; without it a large mean would cost digits
        part = part - part.mean(0)
        products += part @ part.T
    if float(products.trace()) / n <= ROUNDING * square_norm:
        products.zero_()
    products.fill_diagonal_(0)
    rows = products.sum(1) / (n - 2)
    centred = products - rows[:, None] - rows[None, :] + rows.sum() / (n - 1)
    above = torch.triu_indices(n, n, offset=1, device=x.device)
    return np.asarray(centred[above[0], above[1]].cpu().numpy())


def cka_matrix(ones: Floats, others: Floats) -> Floats:
    """(L, batches, P) and (M, batches, P) triangles of the same minibatches -> (L, M) CKA; NaN for constant features.

    The ratio of HSIC_1 averaged over minibatches (Nguyen et al. 2021).
    """
    one, other = (layers.reshape(len(layers), -1) for layers in (ones, others))
    norms = np.sqrt(np.outer((one * one).sum(1), (other * other).sum(1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(norms > 0, np.clip(one @ other.T / norms, -1.0, 1.0), np.nan)  # rounding may pass 1


def cka(one: Floats, other: Floats) -> Interval:
    """(batches, P) triangles of two layers -> their CKA, with an interval from leaving out each image in turn.

    NaN for constant features; without ends where minibatches have 4 images, as HSIC_1 of 3 does not exist.
    """
    n = round((1 + math.sqrt(1 + 8 * one.shape[1])) / 2)
    count, estimate = len(one) * n, float(cka_matrix(one[None], other[None])[0, 0])
    if n == LEAST or math.isnan(estimate):
        return Interval(estimate=estimate, low=math.nan, high=math.nan, count=count)
    both, first, second = (_means_without_each(a, b, n) for a, b in ((one, other), (one, one), (other, other)))
    left_out = both / np.sqrt(first * second)
    interval = jackknife_interval(estimate, left_out, count)
    return Interval(estimate=estimate, low=max(-1.0, interval.low), high=min(1.0, interval.high), count=count)


def _means_without_each(one: Floats, other: Floats, n: int) -> Floats:
    """(batches, P) twice -> (batches * n,) means of HSIC_1 over minibatches, of one of which an image is left out.

    Rows of a U-centred matrix sum to 0. Without image i, HSIC_1 of the n - 1 others is therefore
    (T - 2 p_i (n - 2) / (n - 3)) / ((n - 1) (n - 4)), with p_i the products in row i and T the sum of all p.
    """
    products = one * other
    first, second = np.triu_indices(n, 1)
    rows = np.stack([np.bincount(first, of, n) + np.bincount(second, of, n) for of in products])  # batches, n
    totals = rows.sum(1, keepdims=True)
    whole = totals / (n * (n - 3))
    without = (totals - 2 * rows * (n - 2) / (n - 3)) / ((n - 1) * (n - 4))
    return np.asarray((whole.mean() + (without - whole) / len(rows)).ravel())


def effective_rank(features: Floats) -> float:
    """(N, D) -> exp of the entropy of the centred features' singular values over their sum; NaN if constant."""
    return _rank_of(np.linalg.svd(_centred(features), compute_uv=False))


def effective_rank_interval(features: Floats) -> Interval:
    """`effective_rank`, with an interval from leaving out groups of images in turn."""
    estimate, count = effective_rank(features), len(features)
    groups = [np.arange(start, count, GROUPS) for start in range(min(GROUPS, count))]
    if math.isnan(estimate):
        return Interval(estimate=estimate, low=math.nan, high=math.nan, count=count)
    left, values, _ = np.linalg.svd(_centred(features), full_matrices=False)
    x = left * values  # (N, min(N, D)): the same singular values, whichever rows are left out
    squares, total, found = x.T @ x, x.sum(0), []
    for group in groups:
        kept, mean = count - len(group), (total - x[group].sum(0)) / (count - len(group))
        spread = np.linalg.eigvalsh(squares - x[group].T @ x[group] - kept * np.outer(mean, mean))
        found.append(_rank_of(np.sqrt(np.maximum(spread, 0.0))))
    return jackknife_interval(estimate, np.array(found), count)


def _centred(features: Floats) -> Floats:
    """Minus their mean; 0 where they are constant but for rounding."""
    x = features - features[:1]
    x = x - x.mean(0)
    return x if (x * x).sum() > ROUNDING * (features * features).sum() else np.zeros_like(x)


def _rank_of(values: NDArray[np.floating[Any]]) -> float:
    total = values.sum()
    if total == 0:
        return math.nan
    shares = values[values > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def uniformity(features: Floats) -> Interval:
    """(N, D) -> log mean exp(-2 |x - y|^2) over pairs of L2-normalised features; NaN where one has no direction.

    Its interval comes from leaving out each image in turn.
    """
    norms, count = np.linalg.norm(features, axis=1, keepdims=True), len(features)
    if not (norms > 0).all():
        return Interval(estimate=math.nan, low=math.nan, high=math.nan, count=count)
    x = features / norms
    rows = np.empty(count)  # sums over the pairs of each image
    step = max(1, AT_ONCE // count)
    for start in range(0, count, step):
        potential = np.exp(-2 * SHARPNESS * (1 - np.clip(x[start : start + step] @ x.T, -1.0, 1.0)))
        rows[start : start + step] = potential.sum(1) - 1  # without itself
    total = rows.sum()
    estimate = math.log(total / (count * (count - 1)))
    left_out = np.log((total - 2 * rows) / ((count - 1) * (count - 2)))
    return jackknife_interval(estimate, left_out, count)
