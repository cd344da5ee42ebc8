"""The automatic batch size: doubled until a larger one is no faster, halved where memory runs out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from stmbench.errors import InputError

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate")
TOO_LARGE = ("invalid configuration",)  # a kernel's grid that the batch made larger than CUDA takes


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchChoice:
    """The batch chosen, the largest tried, whether memory set that limit, and the images/s of every batch tried."""

    batch: int
    largest: int
    limited: bool
    throughput: dict[int, float]


def is_out_of_memory(error: BaseException) -> bool:
    """True for every way in which torch says that a batch is too large, on the CPU and on accelerators."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY + TOO_LARGE)


def choose(
    seconds: Callable[[int], float],
    *,
    start: int = 1,
    limit: int = 1024,
    gain: float = 0.05,
    close: float = 0.10,
    max_seconds: float = 1.0,
    fits: Callable[[int], bool] | None = None,
) -> BatchChoice:
    """Grow the batch until the throughput saturates, and take the smallest that is close to the best.

    Args:
        seconds: runs one batch of the given size and returns its (steady) seconds; may run out of memory.
        start, limit: the first and the largest batch tried.
        gain: two doublings in a row that each add less than this share to the best throughput end the growth (one may
            be a burst of other work).
        close: the smallest batch within this share of the best throughput is taken.
        max_seconds: a batch that would take longer is not tried: models compared have to take turns quickly.
        fits: asked before a batch is tried; False counts as out of memory.

    Raises:
        InputError: not even a batch of 1 fits.
    """

    def attempt(batch: int) -> float | None:
        if fits is not None and not fits(batch):
            return None
        try:
            return seconds(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        _release()
        return None

    batch, took = start, attempt(start)
    limited = took is None
    while took is None:
        if batch == 1:
            raise InputError(
                "a model that fits into memory", "one that does not, at batch size 1", "lower --resolution or the scale"
            )
        batch //= 2
        took = attempt(batch)
    throughput, best, idle = {batch: batch / took}, batch / took, 0
    while not limited and idle < 2 and 2 * batch <= limit and 2 * took <= max_seconds:
        longer = attempt(2 * batch)
        if longer is None:
            limited = True
            break
        batch, took = 2 * batch, longer
        throughput[batch] = batch / took
        idle = idle + 1 if throughput[batch] < (1 + gain) * best else 0
        best = max(best, throughput[batch])
    smallest = min(size for size, rate in throughput.items() if rate >= (1 - close) * best)
    return BatchChoice(batch=smallest, limited=limited, largest=batch, throughput=throughput)


def _release() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
