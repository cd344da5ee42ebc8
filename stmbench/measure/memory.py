"""Peak memory of running one model.

On the CPU allocations are not counted, so a fresh child process runs the model and nothing else, and its additional
resident memory is what the model needs: weights, activations, workspaces, and in training the gradients and the
optimiser state. On CUDA the caching allocator keeps count.

The child is `python -m stmbench.measure.memory`, with the spec as JSON on stdin; the last line of its standard output
is JSON: bytes, baseline and method, or the error.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stmbench.errors import UnitError


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemorySpec:
    """What the child runs: `target` ('module:function'), called with `arguments` (JSON).

    The target imports everything it needs, including plug-ins, and returns a function that builds the model and returns
    another function that runs it once: imports do not count as memory of the model, its weights do.
    """

    target: str
    arguments: Mapping[str, Any]
    runs: int = 2
    threads: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryReading:
    """Peak `bytes` above the baseline, the bytes of the baseline, and the method of measurement."""

    bytes: int
    baseline: int
    method: str


def peak_of_child(spec: MemorySpec, *, timeout: float = 900.0, command: list[str] | None = None) -> MemoryReading:
    """Run `spec` in a fresh Python process and return its additional resident memory.

    Raises:
        UnitError: the child failed, ran out of memory (or was killed by the kernel), or timed out.
    """
    environment = dict(os.environ)
    if spec.threads is not None:
        environment["OMP_NUM_THREADS"] = str(spec.threads)
    try:
        process = subprocess.run(
            command or [sys.executable, "-m", "stmbench.measure.memory"],
            input=json.dumps({**dataclasses.asdict(spec), "parent": os.getpid()}),
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnitError(f"the process that measures memory did not end within {timeout:.0f} s") from None
    if process.returncode < 0:
        cause = signal.Signals(-process.returncode).name
        hint = ", most likely out of memory" if cause == "SIGKILL" else ""
        raise UnitError(f"the process that measures memory was killed by {cause}{hint}")
    try:
        result = json.loads(process.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (process.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise UnitError(f"the process that measures memory failed with code {process.returncode}: {last}") from None
    if "error" in result:
        raise UnitError(result["error"])
    return MemoryReading(bytes=result["bytes"], baseline=result["baseline"], method=result["method"])


def peak_of_this_process(build: Callable[[], Callable[[], object]], runs: int = 2) -> MemoryReading:
    """The additional resident memory of building and running a model here, for one that no child process can build.

    Less exact than `peak_of_child`: what other code frees and reuses in the meantime is not counted.
    """
    result = peak_here(build, runs, "the process that measured")
    return MemoryReading(bytes=result["bytes"], baseline=result["baseline"], method=result["method"])


def peak_of_cuda(build: Callable[[], Callable[[], object]], device: str | torch.device, runs: int = 2) -> MemoryReading:
    """Build a model on a CUDA device, warm it up, and return the allocator's peak in one more pass above the baseline.

    The workspaces that cuBLAS keeps, and the larger ones with which cuDNN tries algorithms in the first pass, do not
    count as memory of the model.
    """
    allocate_workspaces(device)
    gc.collect()
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    baseline = torch.cuda.memory_allocated(device)
    run = build()
    for _ in range(runs):
        run()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device)
    return MemoryReading(bytes=peak - baseline, baseline=baseline, method="CUDA allocator's peak, warm")


def allocate_workspaces(device: str | torch.device) -> None:
    """Make the libraries allocate the workspaces that they keep, which would otherwise count for the first model."""
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        x = torch.zeros(64, 64, device=device, dtype=dtype)
        torch.mm(x, x)
        nn.functional.linear(x, x, x[0])  # a bias takes a different code path


M_MMAP_THRESHOLD = -3  # <malloc.h>
POLL_SECONDS = 0.2  # between checks of whether the parent is alive


def status_bytes(field: str, text: str | None = None) -> int | None:
    """A field of /proc/self/status ('VmHWM', 'VmRSS') in bytes; None if the system has no such file."""
    if text is None:
        try:
            text = Path("/proc/self/status").read_text()
        except OSError:
            return None
    for line in text.splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return None


def reset_peak() -> bool:
    """Reset the kernel's high-water mark to the current resident memory; False if that is not permitted."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def max_rss() -> int:
    """ru_maxrss in bytes (Linux reports KiB, macOS bytes); it cannot be reset."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def stabilise_memory() -> None:
    """Return memory that the imports freed, and make the libraries allocate the buffers that they keep.

    PyTorch imports its compiler (about 150 MB with sympy) when an optimiser is made, activations are recomputed, or an
    operator by `torch.library.custom_op`, as plug-ins have them, is called for the first time: it is there before, so
    that no model is charged for it.
    """
    importlib.import_module("torch._dynamo")
    with torch.no_grad():
        image = torch.zeros(1, 8, 32, 32)
        torch.nn.functional.conv2d(image, torch.zeros(8, 8, 3, 3)).sum()
        torch.mm(torch.zeros(64, 64), torch.zeros(64, 64))
    del image
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        # freed blocks are returned at once, so resident memory is memory in use, the same in every run
        ctypes.CDLL("libc.so.6").mallopt(M_MMAP_THRESHOLD, 2**17)
    return_freed_memory()


def return_freed_memory() -> None:
    """Give pages that hold nothing any more back to the system, where glibc keeps them (milliseconds)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def prefer_killing_this_process() -> None:
    """Make the kernel kill this process rather than its parent if memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def exit_with_parent(parent: int) -> None:
    """Exit soon after the parent does, so that nothing of a killed run keeps using memory and time."""

    def watch_parent() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch_parent, daemon=True).start()


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """The reading for a MemorySpec given as a dict."""
    if spec["threads"] is not None:
        torch.set_num_threads(spec["threads"])
    module, _, function = spec["target"].partition(":")
    build = getattr(importlib.import_module(module), function)(spec["arguments"])
    return peak_here(build, spec["runs"], "a child process")


def peak_here(build: Callable[[], Callable[[], object]], runs: int, process: str) -> dict[str, Any]:
    """Bytes, baseline and method: what building and running take in this process, called `process` in the method."""
    stabilise_memory()
    exact = reset_peak()
    baseline = status_bytes("VmRSS") or max_rss()
    run = build()
    for _ in range(runs):
        run()
    peak = status_bytes("VmHWM") if exact else None
    method = f"VmHWM of {process}"
    if peak is None:
        peak, method = max_rss(), f"ru_maxrss of {process}"
    return {"bytes": max(0, peak - baseline), "baseline": baseline, "method": method}


def main() -> int:
    """Measure, and print the result on standard output; anything the model prints goes to standard error."""
    spec = json.load(sys.stdin)
    exit_with_parent(spec["parent"])
    prefer_killing_this_process()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            result = measure(spec)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a model may also call sys.exit
        result = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    print(json.dumps(result))
    return 1 if "error" in result else 0


if __name__ == "__main__":
    sys.exit(main())
