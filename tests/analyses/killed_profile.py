"""A profile that ends itself with SIGKILL amid a block: python -m tests.analyses.killed_profile STORE ROUND."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from stmbench.analyses.base import Progress
from stmbench.analyses.profile import costs, tasks
from stmbench.measure.memory import MemoryReading, MemorySpec
from tests.analyses.profiles import profile


def main(folder: str, fatal: str) -> None:
    tasks.BLOCK_SECONDS = 14.0  # three rounds of 6 s in a block

    def peak(spec: MemorySpec) -> MemoryReading:
        return MemoryReading(bytes=1, baseline=1, method="scripted")

    def listen(event: Progress) -> None:
        if event.text.startswith(f"sampling fp32, round {fatal}"):
            os.kill(os.getpid(), signal.SIGKILL)

    costs.peak_of_child = peak
    run = profile(Path(folder), time_budget=200.0)
    run.tell = listen
    run.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
