"""Profiles on a scripted clock: nothing is timed, so they are quick and the same every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stmbench.analyses.profile import costs
from stmbench.analyses.profile.analysis import Profile
from stmbench.analyses.profile.config import ProfileConfig
from stmbench.measure import latency
from stmbench.measure.memory import MemoryReading, MemorySpec
from stmbench.tables import Store
from tests.measure.fake_clock import ScriptedTimer

MODELS = ("unified_dw_conv_nano", "unified_sw_attn_nano")
# of a prime number, so that no subject meets the same one in every round; close together, so that ratios are resolved
DURATIONS = [0.3 * (1 + 0.001 * (i * i % 13)) for i in range(13)]


def profile(folder: Path, *, durations: list[float] | None = None, runs: bool = False, **changes: Any) -> Profile:
    """A profile of two nano models with batches of 2; a round is 6 s of scripted sampling."""
    fields = {"models": MODELS, "batch_size": 2, "time_budget": 30.0, "threads": 1, **changes}
    timer = ScriptedTimer(durations or DURATIONS, runs=runs)
    return Profile(ProfileConfig(**fields), Store(folder), timer=timer)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> list[MemorySpec]:
    """No child processes: every model takes 7 MiB. Returns what was asked for."""
    asked: list[MemorySpec] = []

    def peak(spec: MemorySpec) -> MemoryReading:
        asked.append(spec)
        return MemoryReading(bytes=7 * 2**20, baseline=1, method="scripted")

    monkeypatch.setattr(costs, "peak_of_child", peak)
    monkeypatch.setattr(latency, "CPU_BYTES", 2**12)  # a cold cache tells a scripted clock nothing
    return asked


def raw(frame: pd.DataFrame, metric: str, model: str | None = None) -> pd.DataFrame:
    chosen = frame[(frame["kind"] == "raw") & (frame["metric"] == metric)]
    return chosen if model is None else chosen[chosen["model"] == model]


def summary(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    return frame[(frame["kind"] == "summary") & (frame["metric"] == metric)]
