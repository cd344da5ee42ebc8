"""SIGKILL at any moment loses the block that was being sampled, and nothing else; the next run repeats nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stmbench.tables import read
from tests.analyses.profiles import MODELS, memory, profile

__all__ = ["memory"]


@pytest.mark.usefixtures("memory")
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    # the fifth round is the second of the second block of three
    command = [sys.executable, "-m", "tests.analyses.killed_profile", str(tmp_path), "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    parts = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "parts").iterdir()}
    before = read(tmp_path)
    assert sorted(before.query("metric == 'probe_peak'")["sample"]) == [0, 1, 2], "one whole block, no half one"

    profile(tmp_path, time_budget=200.0).run()
    for name, (content, written) in parts.items():
        path = tmp_path / "parts" / name
        assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, written), "what was there was not touched"
    frame = read(tmp_path)
    raw = frame[frame["kind"] == "raw"]
    rounds = sorted(raw[raw["metric"] == "probe_peak"]["sample"])
    assert rounds == list(range(len(rounds)))
    assert len(rounds) >= 10
    for name in MODELS:
        assert sorted(raw[(raw["metric"] == "throughput") & (raw["model"] == name)]["sample"]) == rounds
    assert not raw.duplicated(["metric", "model", "sample"]).any()
    identity = ["metric", "model", "baseline", "condition", "level", "stage"]
    assert not frame[frame["kind"] == "summary"].duplicated(identity).any()
    assert not list((tmp_path / "parts").glob(".*")), "no temporary file is left"
