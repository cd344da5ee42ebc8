from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stmbench.errors import UnitError
from stmbench.measure import memory
from stmbench.measure.memory import MemorySpec, max_rss, peak_of_child, peak_of_cuda, status_bytes

TARGET = "tests.measure.child_target:prepare"


def test_child_peak_excludes_imports() -> None:
    reading = peak_of_child(MemorySpec(target=TARGET, arguments={"mib": 96}, threads=1))
    assert 2 * 96 * 2**20 <= reading.bytes < 2 * 96 * 2**20 + 24 * 2**20, "held and temporary, each 96 MiB"
    assert reading.baseline > 50 * 2**20
    assert "child process" in reading.method


def test_a_models_first_operator_does_not_count() -> None:
    """PyTorch imports its compiler then, 150 MiB."""
    reading = peak_of_child(MemorySpec(target=TARGET, arguments={"mib": 1, "scans": True}, threads=1))
    assert reading.bytes < 24 * 2**20


def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(UnitError, match="RuntimeError: no such kernel"):
        peak_of_child(MemorySpec(target=TARGET, arguments={"mib": 1, "fail": True}))


DEATHS = [
    (
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "killed by SIGKILL, most likely out of memory",
    ),
    ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV$"),
    ("import sys; sys.exit('broken')", "failed with code 1: broken"),
    ("print('not json')", "failed with code 0"),
    ("import time; time.sleep(60)", "did not end within 1 s"),
]


@pytest.mark.parametrize(("code", "words"), DEATHS)
def test_a_child_that_dies_is_a_failed_unit(code: str, words: str) -> None:
    spec = MemorySpec(target=TARGET, arguments={})
    with pytest.raises(UnitError, match=words):
        peak_of_child(spec, timeout=1.0 if "sleep" in code else 60.0, command=[sys.executable, "-c", code])


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="nothing says whether a process runs")
def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    written = tmp_path / "pid"
    code = (
        "from stmbench.measure.memory import MemorySpec, peak_of_child\n"
        f"peak_of_child(MemorySpec(target={TARGET!r}, arguments={{'waits': {str(written)!r}}}))"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        _until(lambda: written.is_file() and written.read_text() != "")
        child = int(written.read_text())
        assert _runs(child)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    _until(lambda: not _runs(child))


def _until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()  # a container may have nobody to bury it
    except OSError:
        return False


def test_peak_is_read_from_proc_status() -> None:
    assert status_bytes("VmHWM", "Name:\tpython\nVmHWM:\t    2048 kB\n") == 2 * 2**20
    assert status_bytes("VmHWM", "Name:\tpython\n") is None
    assert max_rss() > 2**20


def test_cuda_peaks_count_above_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"now": 1000, "peak": 5000}
    events: list[str] = []
    monkeypatch.setattr(memory, "allocate_workspaces", lambda device: events.append("settle"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: held["now"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: events.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: held["peak"])
    reading = peak_of_cuda(lambda: events.append("build") or (lambda: events.append("run")), "cuda:0", runs=2)
    assert reading.bytes == 4000
    # what only the first passes need is not the model's
    assert events == ["settle", "build", "run", "run", "reset", "run"]


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call,unused-ignore]
    """The matrix products that are run, with their dtypes and devices."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[str, torch.dtype, str]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ("mm", "addmm"):
            self.seen.add((name, args[-1].dtype, args[-1].device.type))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_library_workspaces_are_allocated_beforehand(device: str | torch.device) -> None:
    with Products() as products:
        memory.allocate_workspaces(device)
    dtypes = (torch.float32, torch.bfloat16, torch.float16)
    assert products.seen == {(name, dtype, "cpu") for name in ("mm", "addmm") for dtype in dtypes}
