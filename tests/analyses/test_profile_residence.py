"""Models that fit into memory one by one and not together."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch

from stmbench.analyses.profile import costs, timed_models, timing_harness
from stmbench.analyses.profile.config import ProfileConfig, Setting
from stmbench.analyses.profile.timing_harness import TimingHarness
from stmbench.measure.memory import MemoryReading
from stmbench.tables import read
from tests.analyses.profiles import memory, raw, summary
from tests.analyses.profiles import profile as any_profile
from tests.measure.fake_clock import ScriptedTimer

__all__ = ["memory"]
MODELS = ("unified_identity_nano", "unified_pooling_nano")
profile = functools.partial(any_profile, models=MODELS)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What is in memory: batches of subjects made and not let go of; `limit` images fit."""
    state = {"held": 0, "limit": 10**9}
    make = timed_models.TimedModel.run

    def run(self: timed_models.TimedModel, batch: int, *, eager: bool = False) -> object:
        work = make(self, batch, eager=eager)
        if eager:  # alone, for choosing a batch
            return lambda: None
        state["held"] += batch
        if state["held"] > state["limit"]:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return work

    monkeypatch.setattr(timed_models.TimedModel, "run", run)
    choose = functools.partial(timing_harness.throughput_batch.choose_batch_size, limit=16)
    monkeypatch.setattr(
        timing_harness.throughput_batch, "choose_batch_size", choose
    )  # a scripted clock finds every larger batch faster
    close = TimingHarness.close
    monkeypatch.setattr(TimingHarness, "close", lambda self: (close(self), state.update(held=0)))
    return state


@pytest.mark.usefixtures("memory")
def test_an_automatic_batch_is_halved_until_all_fit(tmp_path: Path, room: dict[str, int]) -> None:
    room["limit"] = 2 * (4 + 1)  # both models at batch 4, and at batch 1 for latency
    asked = profile(tmp_path, batch_size=None, durations=[0.3], time_budget=1.0)
    asked.run()
    frame = read(tmp_path)
    alone = summary(frame, "batch_size").query("condition.isna()")["value"].unique().tolist()
    assert alone == [16]
    assert summary(frame, "batch_size").query("condition == 'shared'")["value"].tolist() == [4, 4]
    assert set(raw(frame, "throughput")["batch_size"]) == {4}
    assert set(summary(frame, "peak_memory")["batch_size"]) == {4}
    assert (frame["status"] != "failed").all()
    room["held"] = 0
    resumed = profile(tmp_path, batch_size=None, durations=[0.3], time_budget=1.0)
    assert resumed.run().measured == 0, "what was found is kept"


@pytest.mark.usefixtures("memory")
def test_a_batch_that_was_asked_for_is_not_halved(tmp_path: Path, room: dict[str, int]) -> None:
    room["limit"] = 8 + 1 + 2  # the second model does not fit
    profile(tmp_path, batch_size=8, time_budget=1.0).run()
    frame = read(tmp_path)
    assert set(raw(frame[frame["status"] == "ok"], "throughput")["model"]) == {MODELS[0]}
    assert set(raw(frame, "throughput")["batch_size"]) == {8}
    (reason,) = frame[frame["status"] == "failed"]["reason"].unique()
    assert reason == (
        "expected a batch that fits into memory beside the other models, got one of 8 images that does not; "
        "lower --batch-size, or profile fewer models at a time"
    )


@pytest.mark.usefixtures("memory")
def test_models_that_never_fit_together_are_said(tmp_path: Path, room: dict[str, int]) -> None:
    room["limit"] = 1
    profile(tmp_path, batch_size=None, durations=[0.3], time_budget=1.0).run()
    (reason,) = read(tmp_path).query("status == 'failed'")["reason"].unique()
    words = "expected models that fit into memory together, got none of batch 1; profile fewer at a time"
    assert reason == words


def test_memory_is_measured_without_the_others_where_it_has_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    def peak(build: object, device: str) -> MemoryReading:
        events.append(device)
        if len(events) == 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return MemoryReading(bytes=7, baseline=0, method="scripted")

    monkeypatch.setattr(costs, "peak_of_cuda", peak)
    config = ProfileConfig(models=MODELS, device="cuda:1")
    under_test = TimingHarness(config, Setting(resolution=(32, 32), dtype="fp32"), ScriptedTimer())
    monkeypatch.setattr(under_test, "close", lambda: events.append("close"))
    assert costs.peak_of(under_test, (MODELS[0], None), 8, threads=1).bytes == 7
    assert events == ["cuda:1", "close", "cuda:1"]
