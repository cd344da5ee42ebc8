from __future__ import annotations

import pytest
import torch

from stmbench.errors import InputError
from stmbench.measure.throughput_batch import choose_batch_size, is_out_of_memory


def saturating(at: int, per_image: float = 0.001):
    """Seconds of a batch on a machine that is no faster beyond `at` images at once."""
    return lambda size: per_image * max(size, at)


@pytest.mark.parametrize("at", [1, 4, 32])
def test_search_stops_where_throughput_saturates(at: int) -> None:
    choice = choose_batch_size(saturating(at))
    assert choice.batch == at
    assert not choice.limited
    assert choice.largest == 4 * at, "two doublings without gain end the growth"


def test_single_outlier_does_not_end_the_search() -> None:
    slow = {2: 0.5}
    choice = choose_batch_size(lambda size: slow.get(size, 0.1))
    assert choice.batch > 2


def test_out_of_memory_ends_the_search() -> None:
    def seconds(size: int) -> float:
        if size > 8:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")
        return 0.1

    choice = choose_batch_size(seconds)
    assert (choice.batch, choice.largest, choice.limited) == (8, 8, True)


def test_a_start_that_is_too_large_is_halved() -> None:
    def seconds(size: int) -> float:
        if size > 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return 0.1

    tried = choose_batch_size(seconds, start=32)
    assert (tried.batch, tried.limited) == (4, True)


def test_a_model_that_never_fits_is_refused() -> None:
    def seconds(size: int) -> float:
        raise RuntimeError("CUDA error: out of memory")

    with pytest.raises(InputError, match="expected a model that fits into memory, got one that does not"):
        choose_batch_size(seconds, start=4)


def test_other_errors_are_raised() -> None:
    def seconds(size: int) -> float:
        raise RuntimeError("not implemented for 'Half'")

    with pytest.raises(RuntimeError, match="Half"):
        choose_batch_size(seconds)


def test_batches_that_take_long_or_do_not_fit_are_not_tried() -> None:
    assert choose_batch_size(lambda size: 0.3 * size**0.5, max_seconds=1.0).largest == 4
    assert choose_batch_size(lambda size: 0.1, fits=lambda size: size <= 16).batch == 16
    assert choose_batch_size(lambda size: 0.1, limit=64).batch == 64


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (torch.cuda.OutOfMemoryError("x"), True),
        (MemoryError(), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("shape mismatch"), False),
        (RuntimeError("CUDA error: invalid configuration argument"), True),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_errors_are_recognised(error: Exception, is_memory: bool) -> None:
    assert is_out_of_memory(error) is is_memory
