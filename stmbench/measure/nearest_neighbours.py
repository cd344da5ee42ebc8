"""The weighted nearest-neighbour classifier of frozen features, in blocks: no matrix of all queries and the whole bank.

Wu et al. 2018 (arXiv:1805.01978, section 3.4) as Caron et al. 2021 evaluate DINO: features of unit length, the k most
similar of the bank by cosine s, each of which votes for its class with exp(s / temperature).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from stmbench.errors import ConfigError, UnitError

TEMPERATURE = 0.07
NO_CLASS = -1
BLOCK_BYTES = 2**27  # of the largest temporary matrix
BANK_ROWS = 2**15  # of the bank at once


def knn_predictions(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    *,
    k: Sequence[int],
    temperature: float = TEMPERATURE,
    num_classes: int,
    device: torch.device | str | None = None,
) -> dict[int, Tensor]:
    """The class of each query by its k nearest neighbours, for every k from one pass over the bank.

    Equal sums of votes go to the lower class number. Which of several neighbours at the same distance are the k nearest
    is not defined.

    Args:
        bank: (N, D) features of any float type, not normalised.
        bank_labels: (N,) whole numbers from 0 to `num_classes` - 1.
        queries: (Q, D).
        k: numbers of neighbours, each from 1 to N.
        device: where similarities are computed; default: where `bank` is. Blocks of features are moved there.

    Returns:
        k -> (Q,) int64 class numbers, on the CPU.

    Raises:
        ConfigError: a k outside 1 to N, a temperature that is not positive, labels or widths that do not fit.
        UnitError: features are not finite.
    """
    labels = bank_labels.cpu().long()
    if not k or min(k) < 1:
        raise ConfigError("every k to be at least 1", repr(tuple(k)), "choose another k")
    if len(labels) != len(bank) or not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        got = f"{len(labels)} from {labels.min()} to {labels.max()}"
        raise ConfigError(f"{len(bank)} labels from 0 to {num_classes - 1}", got, "pass the labels of the bank")
    similarities, neighbours = nearest_neighbours(bank, queries, max(k), device=device)
    found = knn_classes(similarities, labels[neighbours], k=k, temperature=temperature, num_classes=num_classes)
    return {number: classes[:, 0] for number, classes in found.items()}


def nearest_neighbours(
    bank: Tensor, queries: Tensor, k: int, *, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines of each query with the k most similar rows of the bank, most similar first, and which rows they are.

    Returns:
        (Q, k) float32 and (Q, k) int64, on the CPU.

    Raises:
        ConfigError: k is not between 1 and N, or bank and queries have different widths.
        UnitError: features are not finite.
    """
    if not 1 <= k <= len(bank):
        raise ConfigError(f"k from 1 to the {len(bank)} features of the bank", repr(k), "choose another k")
    if bank.shape[1] != queries.shape[1]:
        raise ConfigError(f"queries with {bank.shape[1]} features", repr(queries.shape[1]), "use one network for both")
    device = torch.device(device if device is not None else bank.device)
    best = torch.full((len(queries), k), -torch.inf)
    rows = torch.zeros((len(queries), k), dtype=torch.int64)
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        ready = functional.normalize(queries.to(device, torch.float32), dim=1)
        for start in range(0, len(bank), BANK_ROWS):
            part = functional.normalize(bank[start : start + BANK_ROWS].to(device, torch.float32), dim=1).T  # (D, n)
            for block in _blocks(len(ready), 4 * part.shape[1]):
                found, where = (ready[block] @ part).topk(min(k, part.shape[1]), dim=1)  # (q, at most k)
                found, where = found.cpu(), where.cpu() + start
                if start:
                    found, where = torch.cat([best[block], found], 1), torch.cat([rows[block], where], 1)
                    found, order = found.topk(min(k, found.shape[1]), dim=1)
                    where = where.gather(1, order)
                best[block, : found.shape[1]], rows[block, : found.shape[1]] = found, where
    if not bool(best.isfinite().all()):  # NaN counts as the largest, so it is always among the best
        raise UnitError("expected finite features, got NaN or infinity; the network has diverged: use other weights")
    return best, rows


def knn_classes(
    similarities: Tensor,
    labels: Tensor,
    *,
    k: Sequence[int],
    temperature: float = TEMPERATURE,
    num_classes: int,
    top: int = 1,
) -> Mapping[int, Tensor]:
    """The `top` classes of each query by the votes of its neighbours, (Q, K) cosines in falling order and labels.

    K is at least the largest k. Of classes with equal sums of votes the lower number comes first.

    Returns:
        k -> (Q, top) int64; `NO_CLASS` where fewer classes have a vote.
    """
    if not temperature > 0:
        raise ConfigError("a temperature above 0", repr(temperature), f"use {TEMPERATURE}")
    count = len(similarities)
    classes = {number: torch.full((count, top), NO_CLASS, dtype=torch.int64) for number in k}
    # relative to the nearest neighbour: the same order of classes, and no overflow at small temperatures
    weights = ((similarities - similarities[:, :1]).double() / temperature).exp()
    for block in _blocks(count, 8 * num_classes):
        votes, counted = torch.zeros((len(weights[block]), num_classes), dtype=torch.float64), 0
        for number in sorted(set(k)):
            votes.scatter_add_(1, labels[block, counted:number], weights[block, counted:number])
            counted = number
            classes[number][block] = _first_classes(votes, top)
    return classes


def _first_classes(votes: Tensor, top: int) -> Tensor:
    """(q, C) -> (q, top) classes with the most votes."""
    left, found = votes.clone(), []
    for _ in range(top):
        winner = left.argmax(dim=1, keepdim=True)  # of equal ones the first
        found.append(torch.where(left.gather(1, winner) > 0, winner, NO_CLASS))
        left.scatter_(1, winner, 0.0)
    return torch.cat(found, 1)


def _blocks(count: int, bytes_per_row: int) -> Iterator[slice]:
    step = max(1, BLOCK_BYTES // bytes_per_row)
    return (slice(start, start + step) for start in range(0, count, step))
