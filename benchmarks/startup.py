"""How long the command line takes to answer: help, lists, plans and small analyses, each in a fresh interpreter.

    python benchmarks/startup.py [runs] [--only TEXT]

Prints the median and the slowest of `runs` (default 15) beside a bare interpreter, in milliseconds, and the median of
the processor's time, which other processes disturb less. Leaves with 1 where a median is above the case's limit: half a
second for what a prompt waits for. With `--only` a case is measured if TEXT is in its name. The cases of a finished run
need one, which takes a minute or two before anything is measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

STMBENCH = (sys.executable, "-m", "stmbench")
MODEL = "unified_dw_conv_nano"
ANALYSES = {
    "erf": ("erf", MODEL, "--num-images", "8"),
    "eval": ("eval", MODEL, "--dataset", "digits", "--num-images", "8"),
    "affinity": ("affinity", MODEL, "--num-images", "2"),
    "invariance": ("invariance", "translation", MODEL, "--num-images", "2", "--levels", "0,8"),
    "profile --no-timing": ("profile", MODEL, "--no-timing"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A command, what completion is asked for, how long it may take, and whether it begins with an empty store."""

    command: Sequence[str]
    words: Mapping[str, str] = dataclasses.field(default_factory=dict)
    limit: float = 0.5  # seconds
    into: Path | None = None


def cases(folder: Path) -> dict[str, Case]:
    """By name; stores are below `folder`."""

    def stmbench(*words: str) -> tuple[str, ...]:
        return (*STMBENCH, *words)

    def completion(line: str) -> Case:
        return Case(command=STMBENCH, words={"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))})

    empty = str(folder / "none")
    found = {
        "python -c pass": Case(command=(sys.executable, "-c", "pass")),
        "stmbench --help": Case(command=stmbench("--help")),
        "stmbench profile --help": Case(command=stmbench("profile", "--help")),
        "stmbench list mixers": Case(command=stmbench("list", "mixers")),
        "stmbench list models": Case(command=stmbench("list", "models")),
        "completion of a command": completion("stmbench pro"),
        "completion of an option": completion("stmbench profile --sc"),
        "completion of a value": completion("stmbench profile --scale "),
    }
    # the last two import models the first time, which is not counted, and remember them
    for name in ("quickstart", "modern_mixers", "stm_table3", "supervised_shapes", "detection_quickstart"):
        for mini in ((), ("--mini",)):
            words = ("run", name, *mini, "--dry-run")
            found[" ".join(words)] = Case(command=stmbench(*words, "--out", empty), limit=0.6)
    found["run --dry-run, all is done"] = Case(command=stmbench(*finished_run(folder), "--dry-run"), limit=0.6)
    found["run, all is done"] = Case(command=stmbench(*finished_run(folder)), limit=0.6)
    for name, analysis in ANALYSES.items():
        store = folder / analysis[0]
        found[f"small {name}"] = Case(command=stmbench(*analysis, "--out", str(store)), limit=6.0, into=store)
    return found


def finished_run(folder: Path) -> tuple[str, ...]:
    """The words of a run with a store of its own."""
    return ("run", "quickstart", "--mini", "--out", str(folder / "done"))


def measured(case: Case) -> tuple[float, float]:
    """Wall time and processor time of one run; raises CalledProcessError where the command fails."""
    if case.into is not None:
        shutil.rmtree(case.into, ignore_errors=True)
    completion = {"_STMBENCH_COMPLETE": "complete_bash", **case.words} if case.words else {}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    silent = subprocess.DEVNULL
    subprocess.run(case.command, env={**os.environ, **completion}, stdout=silent, stderr=silent, check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(runs: int, only: str) -> int:
    """Measure every case `runs` times, in turn, and print a line for each; 1 where one is too slow."""
    with tempfile.TemporaryDirectory() as name:
        chosen = {text: case for text, case in cases(Path(name)).items() if only in text}
        if any(str(Path(name) / "done") in case.command for case in chosen.values()):
            subprocess.run((*STMBENCH, *finished_run(Path(name))), capture_output=True, check=True)
        for case in chosen.values():
            measured(case)  # the first run compiles and fills the file cache
        found: dict[str, list[tuple[float, float]]] = {text: [] for text in chosen}
        for _ in range(runs):
            for text, case in chosen.items():
                found[text].append(measured(case))
    slow = False
    for text, times in found.items():
        walls, processor = [wall for wall, _ in times], statistics.median(used for _, used in times)
        median = statistics.median(walls)
        slow |= median > chosen[text].limit
        line = f"{text:<36} median {1e3 * median:6.0f}   slowest {1e3 * max(walls):6.0f}"
        print(f"{line}   processor {1e3 * processor:6.0f} ms")
    return int(slow)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="?", type=int, default=15)
    parser.add_argument("--only", default="", metavar="TEXT", help="measure the cases with this text in their names")
    arguments = parser.parse_args()
    sys.exit(main(arguments.runs, arguments.only))
