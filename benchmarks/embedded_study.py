"""The tables of docs/embedded_study.md from the store of an embedded study.

    stmbench run experiments/embedded_study.yaml
    python benchmarks/embedded_study.py results/embedded_study

A mixer's difference to the control is taken answer by answer: for each test image the mean over seeds of (right with
the mixer) - (right with the control). The interval comes from resampling images, with the seeds that were run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from stmbench.measure.bootstrap import mean_intervals
from stmbench.tables import read

CONTROL = "identity"


def answers(frame: pd.DataFrame, folder: Path) -> dict[str, dict[int, pd.Series]]:
    """mixer -> seed -> (images,) whether the answer was right, by the image's number."""
    found: dict[str, dict[int, pd.Series]] = {}
    rows = frame[(frame["analysis"] == "eval") & (frame["metric"] == "predictions") & frame["artifact"].notna()]
    for row in rows.to_dict("records"):
        seed = int(str(row["weights"]).rpartition(":")[0].rpartition(".s")[2])
        kept = pd.read_parquet(folder / row["artifact"]).set_index("index")
        found.setdefault(str(row["mixer"]), {})[seed] = kept["rank"] == 0
    return found


def table(folder: Path) -> str:
    """Markdown: a row for each mixer, the best first."""
    frame = read(folder)
    found = answers(frame, folder)
    control = found[CONTROL]
    times = frame[(frame["analysis"] == "train") & (frame["metric"] == "training_time") & (frame["kind"] == "summary")]
    titles = {mixer: facts["title"] for mixer, facts in frame.attrs["mixers"].items()}
    seeds = sorted(control)
    numbers = ", ".join(map(str, seeds))
    header = f"| mixer | accuracy by seed ({numbers}), % | mean, % | minus identity, points | fastest, s |"
    lines = [header, "|---|---|---|---|---|"]
    order = sorted(found, key=lambda mixer: -float(np.mean([hits.mean() for hits in found[mixer].values()])))
    for mixer in order:
        hits = found[mixer]
        shares = [100 * hits[seed].mean() for seed in seeds if seed in hits]
        common = [seed for seed in seeds if seed in hits and seed in control]
        gaps = np.mean([hits[seed].astype(float) - control[seed].astype(float) for seed in common], axis=0)
        (interval,) = mean_intervals(gaps[:, None], seed=0)
        gap = (
            "–"
            if mixer == CONTROL
            else (f"{100 * interval.estimate:+.1f} ({100 * interval.low:+.1f} to {100 * interval.high:+.1f})")
        )
        spent = times.loc[times["mixer"] == mixer, "value"]
        each = ", ".join(f"{share:.1f}" for share in shares)
        seconds = f"{spent.min():.0f}"  # neighbours on the machine only ever add
        lines.append(f"| {titles.get(mixer, mixer)} | {each} | {np.mean(shares):.1f} | {gap} | {seconds} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, help="the store's folder, results/embedded_study")
    print(table(parser.parse_args().store))
