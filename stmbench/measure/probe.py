"""A fixed workload that runs in every round alongside the models and shows what the machine could do at that moment.

It has two parts, like a roofline: a matrix product (multiply-adds per second, in the run's dtype) and a copy of a
buffer too large for any cache (bytes read and written per second).
"""

from __future__ import annotations

import dataclasses
import time
from typing import Final

import torch

from stmbench.measure.clock import Timer


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeSize:
    """The `side` of the square matrices, the `copy_bytes` of the copied buffer, and the number of `copies` per call."""

    side: int
    copy_bytes: int
    copies: int = 1

    @property
    def macs(self) -> int:
        """Multiply-adds of one matrix product."""
        return self.side**3

    @property
    def bytes_moved(self) -> int:
        """Bytes moved by one call of `Probe.copy`: every copy reads and writes each byte once."""
        return 2 * self.copy_bytes * self.copies


SIZES = {
    "cpu": ProbeSize(side=1024, copy_bytes=2**28),
    # one copy takes 0.26 ms of an H200, of which a launch is 4 %
    "cuda": ProbeSize(side=8192, copy_bytes=2**29, copies=8),
    "mps": ProbeSize(side=2048, copy_bytes=2**27),
}


SLOWEST_S: Final = 0.25  # a product takes no longer, so that models have most of a round
SMALLEST_SIDE: Final = 128


class Probe:
    """The fixed workload on one device, in one dtype.

    `compute()` and `copy()` return the seconds of one run; `size` is the amount of work. Where it is not given, a CPU
    that multiplies half precision a hundred times slower than single has smaller matrices.
    """

    def __init__(
        self, device: str | torch.device, dtype: torch.dtype, timer: Timer, size: ProbeSize | None = None
    ) -> None:
        torch_device = torch.device(device)
        self.size = size or _size(torch_device, dtype)
        self._timer = timer
        generator = torch.Generator().manual_seed(0)
        shape = (self.size.side, self.size.side)
        self._a, self._b = (torch.randn(shape, generator=generator).to(torch_device, dtype) for _ in range(2))
        self._product = torch.empty(shape, device=torch_device, dtype=dtype)
        # not constant: moving data costs power when bits change
        self._source = torch.arange(self.size.copy_bytes // 4, device=torch_device, dtype=torch.float32)
        self._target = torch.empty_like(self._source)

    def compute(self) -> float:
        """Seconds of one (side, side) x (side, side) matrix product."""
        return self._timer.time(lambda: torch.mm(self._a, self._b, out=self._product))

    def copy(self) -> float:
        """Seconds of `copies` copies of `copy_bytes`, one after another."""
        return self._timer.time(self._copy)

    def _copy(self) -> None:
        for _ in range(self.size.copies):
            self._target.copy_(self._source)


def _size(device: torch.device, dtype: torch.dtype) -> ProbeSize:
    size = SIZES.get(device.type, SIZES["cpu"])
    if device.type == "cpu" and dtype != torch.float32:
        while size.side > SMALLEST_SIDE and _product_seconds(size.side, dtype) > SLOWEST_S:
            size = dataclasses.replace(size, side=size.side // 2)
    return size


def _product_seconds(side: int, dtype: torch.dtype) -> float:
    """Of the faster of two: the first one of a process also prepares the library."""
    matrix, seconds = torch.ones(side, side, dtype=dtype), []
    for _ in range(2):
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        seconds.append(time.perf_counter() - start)
    return min(seconds)
