"""How the batch size of the throughput is chosen: doubled until it is no faster, halved if memory runs out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from stmbench.errors import InputError

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate")
TOO_LARGE = ("invalid configuration",)  # the batch made a kernel's grid larger than CUDA allows


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchChoice:
    """The chosen batch size, the largest tried, whether memory limited it, and the images/s of every size tried."""

    batch: int
    largest: int
    limited: bool
    throughput: dict[int, float]


def is_out_of_memory(error: BaseException) -> bool:
    """True for all errors by which torch reports that a batch is too large, on the CPU and on accelerators."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY + TOO_LARGE)


def choose_batch_size(
    seconds: Callable[[int], float],
    *,
    start: int = 1,
    limit: int = 1024,
    gain: float = 0.05,
    close: float = 0.10,
    max_seconds: float = 1.0,
    fits: Callable[[int], bool] | None = None,
) -> BatchChoice:
    """Grow the batch until the throughput saturates, and choose the smallest that is close to the best.

    Args:
        seconds: runs one batch of the given size and returns its (steady) seconds; may run out of memory.
        start, limit: the first and the largest batch size to try.
        gain: growth ends after two doublings in a row that each improve the best throughput by less than this fraction
            (a single one may be caused by a burst of other work).
        close: the smallest batch within this fraction of the best throughput is chosen.
        max_seconds: a batch that would take longer is not tried, since models have to take turns quickly.
        fits: called before a batch is tried; False counts as out of memory.

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
        _release_memory()
        return None

    batch, elapsed = start, attempt(start)
    limited = elapsed is None
    while elapsed is None:
        if batch == 1:
            raise InputError(
                "a model that fits into memory",
                "one that does not fit at batch size 1",
                "lower --resolution or the scale",
            )
        batch //= 2
        elapsed = attempt(batch)
    throughput, best, saturated = {batch: batch / elapsed}, batch / elapsed, 0
    while not limited and saturated < 2 and 2 * batch <= limit and 2 * elapsed <= max_seconds:
        longer = attempt(2 * batch)
        if longer is None:
            limited = True
            break
        batch, elapsed = 2 * batch, longer
        throughput[batch] = batch / elapsed
        saturated = saturated + 1 if throughput[batch] < (1 + gain) * best else 0
        best = max(best, throughput[batch])
    smallest = min(size for size, rate in throughput.items() if rate >= (1 - close) * best)
    return BatchChoice(batch=smallest, limited=limited, largest=batch, throughput=throughput)


def _release_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
