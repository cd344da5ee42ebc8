"""The child process of `measure.memory`: `python -m stmbench.measure.memory_child`, with the spec as JSON on stdin.

The last line of its standard output is JSON: bytes, baseline and method, or the error.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    """Return memory that the imports freed, and make the libraries allocate the buffers that they keep."""
    import torch

    with torch.no_grad():
        image = torch.zeros(1, 8, 32, 32)
        torch.nn.functional.conv2d(image, torch.zeros(8, 8, 3, 3)).sum()
        torch.mm(torch.zeros(64, 64), torch.zeros(64, 64))
    del image
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        # freed blocks are returned at once, so resident memory is memory in use, the same in every run
        library.mallopt(M_MMAP_THRESHOLD, 2**17)
        library.malloc_trim(0)


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
    import torch

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
