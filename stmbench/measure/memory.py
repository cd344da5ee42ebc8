"""Peak memory of running one model.

On the CPU nobody counts allocations, so a fresh child process runs the model and nothing else, and its extra resident
memory is what the model took: weights, activations, workspaces, and in training the gradients and optimiser state. On
CUDA the caching allocator counts.
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

CHILD = "stmbench.measure.memory_child"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemorySpec:
    """What the child runs: `target` ('module:function') is called with `arguments` (JSON), and prepares a subject.

    It imports all that it needs, plug-ins included, and returns a function that builds the model and returns another
    that runs it once: imports are not the model's memory, its weights are.
    """

    target: str
    arguments: Mapping[str, Any]
    runs: int = 2
    threads: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryReading:
    """Peak `bytes` above the baseline, the baseline's own bytes, and how they were read."""

    bytes: int
    baseline: int
    method: str


def peak_of_child(spec: MemorySpec, *, timeout: float = 900.0, command: list[str] | None = None) -> MemoryReading:
    """Run `spec` in a fresh Python and return the extra resident memory it took.

    Raises:
        UnitError: the child failed, ran out of memory (killed by the kernel included) or out of time; says which.
    """
    environment = dict(os.environ)
    if spec.threads is not None:
        environment["OMP_NUM_THREADS"] = str(spec.threads)
    try:
        done = subprocess.run(
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
    if done.returncode < 0:
        cause = signal.Signals(-done.returncode).name
        hint = ", most likely for want of memory" if cause == "SIGKILL" else ""
        raise UnitError(f"the process that measures memory was killed by {cause}{hint}")
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UnitError(f"the process that measures memory failed with code {done.returncode}: {last}") from None
    if "error" in answer:
        raise UnitError(answer["error"])
    return MemoryReading(bytes=answer["bytes"], baseline=answer["baseline"], method=answer["method"])


def peak_of_cuda(build: Callable[[], Callable[[], object]], device: str | torch.device, runs: int = 2) -> MemoryReading:
    """Build a model on a CUDA device, run it until it is warm, and return what the allocator then held at most.

    Above what it held before. The workspaces that cuBLAS keeps, and the larger ones with which cuDNN tries algorithms
    in the first pass, are not the model's.
    """
    settle_cuda(device)
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


def settle_cuda(device: str | torch.device) -> None:
    """Let the libraries make the workspaces that they keep for any model, or the first one would pay for them."""
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        x = torch.zeros(64, 64, device=device, dtype=dtype)
        torch.mm(x, x)
        nn.functional.linear(x, x, x[0])  # with a bias it goes another way
