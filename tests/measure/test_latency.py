from __future__ import annotations

import pytest
import torch

from stmbench.measure import latency
from stmbench.measure.latency import CacheFlush, ColdPass, WarmPass, cuda_graph_replay
from tests.measure.fake_clock import ScriptedTimer
from tests.measure.fake_cuda import FakeCuda


def test_warm_pass_follows_a_pass_and_cold_pass_a_flush() -> None:
    log: list[str] = []
    timer = ScriptedTimer([0.1, 0.2, 0.3])
    warm = WarmPass(lambda: log.append("run"), timer, repeats=2)
    assert [warm(), warm(), warm()] == [0.1, 0.2, 0.3]
    assert log == ["run"] * 5, "an untimed one before the first and the third"
    log.clear()
    cold = ColdPass(lambda: log.append("run"), timer, lambda: log.append("flush"))
    assert [cold(), cold()] == [0.1, 0.2]
    assert log == ["flush", "run", "flush", "run"]
    assert timer.now == pytest.approx(0.9), "nothing but the passes is timed"


def test_a_flush_fills_more_than_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CacheFlush("cpu").bytes == 64 * 2**20
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda size, dtype, device: zeros(4, dtype=dtype))
    FakeCuda(monkeypatch, cache=50 * 2**20)
    assert CacheFlush("cuda:1").bytes == 100 * 2**20
    FakeCuda(monkeypatch, cache=0)
    assert CacheFlush("cuda").bytes == latency.CUDA_BYTES
    flush = CacheFlush("cuda")
    flush()
    assert flush._buffer.tolist() == [1] * 4, "read and written"


def test_a_graph_is_captured_once_after_warm_passes_on_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCuda(monkeypatch)
    replay = cuda_graph_replay(fake.pass_(), "cuda:1")
    ran = ["run"] * 3
    before = ["on cuda:1", "side waits for current", "in side", *ran, "current waits for side", "captured"]
    assert fake.log == before
    replay()
    replay()
    assert fake.log == [*before, "replay", "replay"], "the model's code does not run again"


def test_work_that_cannot_be_captured_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCuda(monkeypatch)
    fake.broken = "operation not permitted when stream is capturing"
    with pytest.raises(RuntimeError, match="not permitted"):
        cuda_graph_replay(fake.pass_(), "cuda")
