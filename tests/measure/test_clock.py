from __future__ import annotations

import pytest
import torch

from stmbench.measure import clock
from stmbench.measure.clock import CudaTimer, WallTimer, timer_for


def test_wall_clock_synchronises_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([1_000_000_000, 1_250_000_000])
    monkeypatch.setattr(clock.time, "perf_counter_ns", lambda: next(ticks))
    events: list[str] = []
    seconds = WallTimer(lambda: events.append("wait")).time(lambda: events.append("work"))
    assert seconds == 0.25
    assert events == ["wait", "work", "wait"]


def test_differences_of_stamps_are_seconds() -> None:
    timer = WallTimer()
    assert timer.between(1_500_000_000, 4_000_000_000) == 2.5
    first = timer.stamp()
    assert timer.stamp() >= first


@pytest.mark.parametrize(("device", "name"), [("cpu", "wall clock"), ("cuda:1", "CUDA events")])
def test_every_device_has_its_timer(device: str, name: str) -> None:
    assert timer_for(device).name == name


class FakeEvent:
    """Stands in for torch.cuda.Event: `elapsed_time` is in milliseconds."""

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing
        self.waited = False

    def record(self, stream: object) -> None:
        self.stream = stream

    def synchronize(self) -> None:
        self.waited = True

    def elapsed_time(self, end: FakeEvent) -> float:
        assert end.waited, "read before the device was done"
        return 12.5


def test_cuda_is_timed_by_its_own_events_and_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "stream")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: events.append("wait"))
    seconds = CudaTimer("cuda").time(lambda: events.append("work"))
    assert seconds == 0.0125
    assert events == ["wait", "work"]
