"""What a GPU says while it is timed goes into the parts and is reported as what disturbed the processor is."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import torch

from stmbench.comparison.live import Live
from stmbench.comparison.sampling import LiveConfig
from stmbench.measure.machine_watch import MachineWatch
from tests.analyses.profiles import memory, profile
from tests.comparison.workers import BASE, HEAD, World
from tests.measure.fake_nvml import FakeNvml

__all__ = ["memory"]
MODEL = "unified_identity_nano"


@pytest.fixture
def hot(monkeypatch: pytest.MonkeyPatch) -> MachineWatch:
    """The watch of a GPU that is hot and not alone."""
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: types.SimpleNamespace(uuid="abc"))
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(reasons=[0x40], processes=4))
    return MachineWatch("cuda", own=2)


@pytest.mark.usefixtures("memory")
def test_every_round_is_looked_at_and_what_was_seen_is_reported(tmp_path: Path, hot: MachineWatch) -> None:
    run = profile(tmp_path, models=(MODEL,), level="operator", time_budget=30.0)
    run.watch = hot
    report = run.run()
    assert "the GPU slowed down because of heat, all of the time" in report.warnings
    assert "2 other processes were on the GPU" in report.warnings
    (key, *_) = run.store.keys(task="rounds")
    metadata = run.store.metadata(key)
    rounds = int((run.store.read([key])["metric"] == "probe_peak").sum())
    assert metadata["gpu"]["samples"] == rounds + 1, "after each, and at the end"
    assert {"GPU heat", "GPU processes"} <= {item["kind"] for item in metadata["disturbances"]}
    (costs,) = run.store.keys(task="costs")
    assert run.store.metadata(costs)["disturbances"] == [], "no clock was involved"


def test_a_live_comparison_is_watched_too(hot: MachineWatch) -> None:
    world = World()
    live = Live(BASE, HEAD, LiveConfig(models=(MODEL,), seconds=2.0), start=world.start, clock=world.clock)
    live._watch = hot
    notes = live.run().notes
    assert "meanwhile the GPU slowed down because of heat, all of the time" in notes
    assert "meanwhile 2 other processes were on the GPU" in notes
