"""How long the command line takes to answer: help, lists and completion, each in a fresh interpreter.

    python benchmarks/startup.py [runs]

Prints the median and the slowest of `runs` (default 15) beside a bare interpreter, in milliseconds, and leaves with 1
where a median is above half a second, which is where a prompt begins to feel slow.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

LIMIT = 0.5  # seconds
STMBENCH = [sys.executable, "-m", "stmbench"]
CASES: dict[str, tuple[list[str], dict[str, str]]] = {
    "python -c pass": ([sys.executable, "-c", "pass"], {}),
    "stmbench --help": ([*STMBENCH, "--help"], {}),
    "stmbench profile --help": ([*STMBENCH, "profile", "--help"], {}),
    "stmbench list mixers": ([*STMBENCH, "list", "mixers"], {}),
    "stmbench list models": ([*STMBENCH, "list", "models"], {}),
    "completion of a command": (STMBENCH, {"COMP_WORDS": "stmbench pro", "COMP_CWORD": "1"}),
    "completion of an option": (STMBENCH, {"COMP_WORDS": "stmbench profile --sc", "COMP_CWORD": "2"}),
    "completion of a value": (STMBENCH, {"COMP_WORDS": "stmbench profile --scale ", "COMP_CWORD": "3"}),
}


def seconds(command: list[str], words: dict[str, str]) -> float:
    """Wall time of one run; raises CalledProcessError where the command fails."""
    completion = {"_STMBENCH_COMPLETE": "complete_bash", **words} if words else {}
    start = time.perf_counter()
    subprocess.run(command, env={**os.environ, **completion}, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main(runs: int) -> int:
    """Measure every case `runs` times, in turn, and print a line for each; 1 where one is too slow."""
    for command, words in CASES.values():
        seconds(command, words)  # the first run compiles and fills the file cache
    found: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(runs):
        for name, (command, words) in CASES.items():
            found[name].append(seconds(command, words))
    for name, times in found.items():
        print(f"{name:<26} median {1e3 * statistics.median(times):5.0f} ms   slowest {1e3 * max(times):5.0f} ms")
    return int(any(statistics.median(times) > LIMIT for times in found.values()))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 15))
