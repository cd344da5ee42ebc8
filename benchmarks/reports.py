"""The report of a large store: processor time of composing it, of the page and of the PDF, and their sizes.

    python benchmarks/reports.py [STORE] [--models 32] [--seeds 3] [--rounds 3] [--before CHECKOUT]

STORE is one that `stmbench run experiments/quickstart.yaml --mini` left; without it, this is run first. The rows of its
first model become those of 32 mixers with three seeds, each a little different. Each round is a process of its own, and
what is printed are medians. With --before, the code of another checkout takes turns with this one's, and the ratio of
its time to ours has the extremes of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

ROOT: Final = Path(__file__).resolve().parent.parent
NOISE: Final = 0.05  # standard deviation of the factors of models and seeds
PHASES: Final = ("composed", "html", "pdf")


def large(store: Path, models: int, seeds: int) -> pd.DataFrame:
    """Rows of `models` mixers and `seeds` trainings each, made up from those of the store's first model."""
    from stmbench.mixers.base import MIXERS
    from stmbench.reporting.facts import placed
    from stmbench.tables import read
    from stmbench.tables.rows import SharedDict

    rows, generator, made = read(store), np.random.default_rng(0), []
    own = rows[rows["model"] == rows["model"].dropna().iloc[0]]
    names = list(MIXERS)[:models]
    for mixer in names:
        for seed in range(seeds):
            copy = own[own["analysis"] != "profile"].copy() if seed else own.copy()
            copy["model"], copy["mixer"] = f"unified_{mixer}_nano", mixer
            copy["weights"] = copy["weights"].str.replace("-s0-", f"-s{seed}-")
            copy["baseline"] = copy["baseline"].where(copy["baseline"].isna(), f"unified_{names[0]}_nano")
            factor = 1 + NOISE * generator.standard_normal()
            shares = copy["unit"] == "1"
            for column in ("value", "ci_low", "ci_high"):
                scaled = copy[column] * factor
                copy[column] = scaled.where(~shares, scaled.clip(0, 1))
            made.append(copy)
    table = pd.concat(made, ignore_index=True)
    table = table.sample(frac=1, random_state=0).sort_index()  # in one piece, as a store is read
    entries = {name: MIXERS.get(name) for name in names}
    facts = {
        name: {
            "title": entry.title,
            "abbreviation": entry.abbreviation,
            "family": entry.family,
            "palette_slot": slot,
        }
        for slot, (name, entry) in enumerate(entries.items())
    }
    table.attrs = {**rows.attrs, "mixers": SharedDict(facts)}
    return placed(table, store)


def once(store: Path, models: int, seeds: int) -> dict[str, float]:
    """Seconds of the processor for each phase, and megabytes of the files."""
    from stmbench.reporting.build_report import build_report, write_report

    table = large(store, models, seeds)
    start = time.process_time()
    report = build_report(table)
    found = {"rows": float(len(table)), "composed": time.process_time() - start}
    with tempfile.TemporaryDirectory() as folder:
        for kind in PHASES[1:]:
            start = time.process_time()
            (path,) = write_report(report, Path(folder) / "report", (kind,))
            found |= {kind: time.process_time() - start, f"{kind}_mb": path.stat().st_size / 1e6}
    return found


def in_process(checkout: Path, arguments: list[str]) -> dict[str, float]:
    """`once`, with the package of a checkout."""
    command = [sys.executable, str(Path(__file__).resolve()), "--once", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, env=environment, cwd=checkout, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return found


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", nargs="?", type=Path)
    parser.add_argument("--models", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(once(options.store, options.models, options.seeds)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        store = options.store
        if store is None:
            store = Path(folder) / "store"
            run = ["run", str(ROOT / "experiments" / "quickstart.yaml"), "--mini", "--out", str(store)]
            subprocess.run([sys.executable, "-m", "stmbench", *run], stdout=sys.stderr, check=True)
        arguments = [str(store.resolve()), "--models", str(options.models), "--seeds", str(options.seeds)]
        checkouts = [ROOT, *([options.before.resolve()] if options.before else [])]
        rounds = [[in_process(checkout, arguments) for checkout in checkouts] for _ in range(options.rounds)]
    ours = [found[0] for found in rounds]
    print(f"{options.models} models, {options.seeds} seeds, {ours[0]['rows']:,.0f} rows; {options.rounds} rounds")
    print("| | processor time, s | MB |" + (" before / now | lowest to highest |" if options.before else ""))
    print("|---|---|---|" + ("---|---|" if options.before else ""))
    for phase in (*PHASES, "all"):
        seconds = [[_seconds(one, phase) for one in found] for found in rounds]
        size = f"{ours[0][f'{phase}_mb']:.2f}" if f"{phase}_mb" in ours[0] else ""
        line = f"| {phase} | {statistics.median(own for own, *_ in seconds):.1f} | {size} |"
        if options.before:
            ratios = [before / own for own, before in seconds]
            line += f" {statistics.median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |"
        print(line)
    return 0


def _seconds(found: dict[str, float], phase: str) -> float:
    return sum(found[name] for name in PHASES) if phase == "all" else found[phase]


if __name__ == "__main__":
    sys.exit(main())
