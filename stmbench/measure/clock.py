"""Timers of work on a device. Timing code receives its timer as an argument, so tests can script the durations."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import torch


class Timer(Protocol):
    """Measures the seconds of work on one device."""

    name: str  # the method, recorded in the metadata of every part

    def time(self, run: Callable[[], object]) -> float:
        """Seconds of one call of `run`, including the device's work."""
        ...

    def stamp(self) -> Any:
        """A point in the device's time; cheap enough for every module boundary."""
        ...

    def between(self, start: Any, end: Any) -> float:
        """Seconds from one stamp to a later one; waits for the device if necessary."""
        ...

    def synchronize(self) -> None:
        """Wait until the device has finished all its work."""
        ...


class WallTimer:
    """The host's monotonic clock, for the CPU; `wait` synchronises other devices before each stamp."""

    def __init__(self, wait: Callable[[], None] | None = None, name: str = "wall clock") -> None:
        self.name = name
        self._wait = wait

    def time(self, run: Callable[[], object]) -> float:
        start = self.stamp()
        run()
        return self.between(start, self.stamp())

    def stamp(self) -> int:
        self.synchronize()
        return time.perf_counter_ns()

    def between(self, start: int, end: int) -> float:
        return (end - start) * 1e-9

    def synchronize(self) -> None:
        if self._wait is not None:
            self._wait()


class CudaTimer:
    """CUDA events on the current stream: the device's own time, with launch gaps but without later host work."""

    def __init__(self, device: str | torch.device = "cuda") -> None:
        self.name = "CUDA events"
        self.device = torch.device(device)

    def time(self, run: Callable[[], object]) -> float:
        self.synchronize()  # earlier work must not overlap this sample
        start = self.stamp()
        run()
        return self.between(start, self.stamp())

    def stamp(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return event

    def between(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3

    def synchronize(self) -> None:
        torch.cuda.synchronize(self.device)


def timer_for(device: str | torch.device) -> Timer:
    """The timer for a device: CUDA events, or the wall clock, synchronised with devices that queue their work."""
    kind = torch.device(device).type
    if kind == "cuda":
        return CudaTimer(device)
    if kind == "mps":
        return WallTimer(torch.mps.synchronize, "wall clock, synchronised with MPS")
    return WallTimer()
