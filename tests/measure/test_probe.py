from __future__ import annotations

import pytest
import torch

from stmbench.measure import probe as module
from stmbench.measure.probe import SIZES, Probe, ProbeSize
from tests.measure.fake_clock import ScriptedTimer

SMALL = ProbeSize(side=8, copy_bytes=64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_both_parts_run_and_are_timed(dtype: torch.dtype) -> None:
    probe = Probe("cpu", dtype, ScriptedTimer([0.5, 0.25]), SMALL)
    assert probe.compute() == 0.5
    assert probe.copy() == 0.25
    assert torch.allclose(probe._product.float(), probe._a.float() @ probe._b.float(), atol=0.1)
    assert torch.equal(probe._target, torch.arange(16.0))


def test_work_of_the_probe_is_as_declared() -> None:
    assert SMALL.macs == 512
    assert SMALL.bytes_moved == 128
    assert all(size.macs >= 2**30 and size.copy_bytes >= 2**26 for size in SIZES.values()), "larger than a cache"


def test_a_probe_counts_every_copy_that_it_times(monkeypatch: pytest.MonkeyPatch) -> None:
    size = ProbeSize(side=8, copy_bytes=64, copies=3)
    assert size.bytes_moved == 3 * 128
    probe, copied = Probe("cpu", torch.float32, ScriptedTimer(), size), []
    copy_ = torch.Tensor.copy_
    monkeypatch.setattr(torch.Tensor, "copy_", lambda to, source: (copied.append(source.numel()), copy_(to, source))[1])
    probe.copy()
    assert copied == [16, 16, 16]
    assert torch.equal(probe._target, torch.arange(16.0))


def test_every_probe_multiplies_the_same_matrices() -> None:
    first, second = (Probe("cpu", torch.float32, ScriptedTimer(), SMALL) for _ in range(2))
    assert torch.equal(first._a, second._a)


@pytest.mark.parametrize(
    ("dtype", "per_mac", "side"),
    [(torch.bfloat16, 1e-10, 1024), (torch.bfloat16, 1e-9, 512), (torch.float16, 1e3, 128), (torch.float32, 1e3, 1024)],
)
def test_slow_half_precision_has_smaller_matrices(
    dtype: torch.dtype, per_mac: float, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_product_seconds", lambda side, _: per_mac * side**3)
    assert Probe("cpu", dtype, ScriptedTimer()).size.side == side
