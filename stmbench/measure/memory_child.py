"""The child process of `measure.memory`: `python -m stmbench.measure.memory_child`, the spec as JSON on stdin.

Its last line on standard output is JSON: bytes, baseline and method, or the error.
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
from pathlib import Path
from typing import Any

M_MMAP_THRESHOLD = -3  # <malloc.h>
LOOK_SECONDS = 0.2  # between two looks at the parent


def status_bytes(field: str, text: str | None = None) -> int | None:
    """A field of /proc/self/status ('VmHWM', 'VmRSS') in bytes; None where the system has no such file."""
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
    """Set the kernel's high-water mark back to what is resident now; False where that is not allowed."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def highest_rss() -> int:
    """ru_maxrss in bytes (the kernel gives KiB, macOS bytes); it cannot be reset."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def settle() -> None:
    """Give back what the imports freed, and let the libraries make the buffers they keep for any model."""
    import torch

    with torch.no_grad():
        image = torch.zeros(1, 8, 32, 32)
        torch.nn.functional.conv2d(image, torch.zeros(8, 8, 3, 3)).sum()
        torch.mm(torch.zeros(64, 64), torch.zeros(64, 64))
    del image
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        # freed blocks go back to the kernel at once: what is resident is what is in use, the same in every run
        library.mallopt(M_MMAP_THRESHOLD, 2**17)
        library.malloc_trim(0)


def volunteer() -> None:
    """Ask the kernel to kill this process rather than its parent when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def end_with(parent: int) -> None:
    """End this process soon after its parent did: a killed run would go on eating memory and time from here."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """The reading for a MemorySpec given as a dict."""
    import torch

    if spec["threads"] is not None:
        torch.set_num_threads(spec["threads"])
    module, _, function = spec["target"].partition(":")
    build = getattr(importlib.import_module(module), function)(spec["arguments"])
    settle()
    exact = reset_peak()
    baseline = status_bytes("VmRSS") or highest_rss()
    run = build()
    for _ in range(spec["runs"]):
        run()
    peak = status_bytes("VmHWM") if exact else None
    method = "VmHWM of a child process"
    if peak is None:
        peak, method = highest_rss(), "ru_maxrss of a child process"
    return {"bytes": max(0, peak - baseline), "baseline": baseline, "method": method}


def main() -> int:
    """Measure, and say what came of it on the real standard output; what the model prints goes to the other one."""
    spec = json.load(sys.stdin)
    end_with(spec["parent"])
    volunteer()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            answer = measure(spec)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a model may also call sys.exit
        answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    print(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main())
