"""Peak memory of running one model.

On the CPU allocations are not counted, so a fresh child process runs the model and nothing else, and its additional
resident memory is what the model needs: weights, activations, workspaces, and in training the gradients and the
optimiser state. On CUDA the caching allocator keeps count.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from stmbench.errors import UnitError
from stmbench.measure.memory_child import peak_here

CHILD = "stmbench.measure.memory_child"


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
            command or [sys.executable, "-m", CHILD],
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
