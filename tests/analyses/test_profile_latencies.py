"""Latency has a name for each question: warm and cold caches, with the host and as the replay of a CUDA graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stmbench.analyses.profile import timed_models, timing_harness
from stmbench.analyses.profile.config import ProfileConfig, Setting
from stmbench.analyses.profile.samples import LATENCIES, LATENCY_REPEATS
from stmbench.analyses.profile.terminal import lines
from stmbench.analyses.profile.timing_harness import BatchPlan, TimingHarness
from stmbench.tables import read
from tests.analyses.profiles import MODELS, memory, profile, raw, summary
from tests.measure.fake_clock import ScriptedTimer
from tests.measure.fake_cuda import FakeCuda

__all__ = ["memory"]
KEY = ("unified_identity_nano", 3)


@pytest.mark.usefixtures("memory")
def test_warm_and_cold_are_sampled_apart(tmp_path: Path) -> None:
    profile(tmp_path, durations=[0.5], time_budget=30.0).run()
    frame = read(tmp_path)
    rounds = len(raw(frame, "probe_peak"))
    for metric in ("latency", "latency_cold"):
        for name in MODELS:
            assert sorted(raw(frame, metric, name)["sample"]) == list(range(LATENCY_REPEATS * rounds))
        assert set(summary(frame, metric)["condition"]) == {"p50", "p90", "p99"}
        assert set(summary(frame, metric)["batch_size"]) == {1}
    assert raw(frame, "latency_graph").empty, "there are no graphs on the CPU"
    assert [(line.p50 and line.p50.value, line.cold and line.cold.value, line.graph) for line in lines(frame)] == [
        (0.5, 0.5, None),
        (0.5, 0.5, None),
    ]


@pytest.fixture
def on_fake_cuda(monkeypatch: pytest.MonkeyPatch) -> tuple[FakeCuda, TimingHarness]:
    """A bench that believes in cuda, whose subjects are on the CPU."""
    fake = FakeCuda(monkeypatch)
    build = timed_models.build_model
    monkeypatch.setattr(
        timed_models, "build_model", lambda name, **options: build(name, **{**options, "device": "cpu"})
    )
    monkeypatch.setattr(timed_models.TimedModel, "input", lambda self, batch: torch.zeros(batch, *(self._map or ())))
    monkeypatch.setattr(timing_harness, "CacheFlush", lambda device: lambda: fake.log.append("flush"))
    probe = timing_harness.Probe
    monkeypatch.setattr(timing_harness, "Probe", lambda device, dtype, timer: probe("cpu", dtype, timer, SMALL))
    config = ProfileConfig(models=(KEY[0],), level="operator", device="cuda", batch_size=2)
    return fake, TimingHarness(config, Setting(resolution=(32, 32), dtype="fp32"), ScriptedTimer([0.5]))


SMALL: Any = timing_harness.Probe.__init__.__globals__["ProbeSize"](side=8, copy_bytes=64)


def test_on_cuda_every_kind_is_sampled(on_fake_cuda: tuple[FakeCuda, TimingHarness]) -> None:
    fake, under_test = on_fake_cuda
    under_test.prepare({KEY: BatchPlan(batch=2)})
    assert under_test.failures == under_test.uncaptured == {}
    fake.log.clear()
    counted: dict[str, int] = {}
    for (what, _), _sample in next(iter(under_test.sample(first=0))):
        counted[what] = counted.get(what, 0) + 1
    assert {what: counted[what] for what in LATENCIES} == dict.fromkeys(LATENCIES, LATENCY_REPEATS)
    assert fake.log.count("replay") == 2 * LATENCY_REPEATS + 1, "one untimed"
    assert fake.log.count("flush") == 2 * LATENCY_REPEATS


def test_what_cannot_be_captured_is_timed_without_and_said(on_fake_cuda: tuple[FakeCuda, TimingHarness]) -> None:
    fake, under_test = on_fake_cuda
    fake.broken = "operation not permitted when stream is capturing"
    under_test.prepare({KEY: BatchPlan(batch=2)})
    assert under_test.failures == {}
    assert under_test.uncaptured == {KEY: f"RuntimeError: {fake.broken}"}
    whats = {what for (what, _), _sample in next(iter(under_test.sample(first=0)))}
    assert {"latency", "latency_cold"} <= whats
    assert not any("graph" in what for what in whats)
