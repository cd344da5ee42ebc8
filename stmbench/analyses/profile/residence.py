"""All subjects of a setting in memory at once: the batch at which they fit beside each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stmbench.analyses.profile.bench import Bench, Load
from stmbench.analyses.profile.samples import Key
from stmbench.errors import UnitError
from stmbench.measure.throughput_batch import is_out_of_memory

LoadsAt = Callable[[int], Mapping[Key, Load]]


def fitting(bench: Bench, loads_at: LoadsAt, batch: int, *, smallest: int, tell: Callable[[int], None]) -> int:
    """The largest of `batch`, its half, its quarter ... at which a round of all subjects runs; the bench is ready then.

    Each alone may fit at a batch at which they do not fit together: weights, workspaces and graphs of all are there.

    Args:
        loads_at: what the subjects are sampled with at a batch.
        smallest: the last one tried.
        tell: told of each batch before it is tried.

    Raises:
        UnitError: not even the smallest fits.
    """
    while not _fits(bench, loads_at, batch, tell):
        bench.close()  # here, where no traceback holds the tensors any more
        if batch // 2 < smallest:
            raise UnitError(
                f"expected models that fit into memory together, got none of batch {batch}; profile fewer at a time"
            )
        batch //= 2
    return batch


def _fits(bench: Bench, loads_at: LoadsAt, batch: int, tell: Callable[[int], None]) -> bool:
    tell(batch)
    try:
        bench.prepare(loads_at(batch))
        next(iter(bench.sample(first=0)))  # what was warmed up first ran without the others beside it
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True
