"""A made-up history with planted steps: how long the dashboard takes, and whether it finds those steps and no others.

    python benchmarks/dashboard.py [FOLDER] [--commits 1000] [--models 20] [--seed 0]
    python benchmarks/dashboard.py --seeds 12          the steps of twelve histories, without folders

Writes FOLDER/history and FOLDER/site (default: a temporary folder that is removed) and leaves with 1 where a step is
missed or made up, or where building takes more than 20 seconds. The noise is that of a shared machine with two cores:
speeds of separate processes differ by 1.5 % (sd) once the probe is divided out, the machine's own speed wanders by
some percent, and one measurement in fifty falls into a burst that costs a fifth to a third of the speed.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stmbench.history import adding
from stmbench.history.adding import Commit
from stmbench.history.folder import History
from stmbench.history.metrics import metric as tracked_metric
from stmbench.history.record import SUMMARY
from stmbench.history.series import Event, MachineSeries, events_of, fit, machines_of
from stmbench.reporting.dashboard.page import write_dashboard
from stmbench.tables import Row, Store

Floats = npt.NDArray[np.float64]
LIMIT = 20.0  # seconds for building a page of 1,000 commits and 20 models
START = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
MACHINE = "5eed5eed5eed"
MIXERS = ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")
SCALES = ("micro", "tiny", "small", "base")
#          metric          unit       level   noise   step
METRICS = {
    "throughput": ("images/s", 120.0, 0.015, 0.10),
    "latency": ("s", 0.011, 0.015, 0.12),
    "peak_memory": ("bytes", 3e8, 0.002, 0.03),
    "params": ("count", 4.4e6, 0.0, 0.001),
    "accuracy": ("1", 0.80, 0.002, 0.02),
}
SPEEDS = {"throughput": 1, "latency": -1}
FEWEST = 12  # commits between two steps of a series, and before and after them


class Planted(NamedTuple):
    """A step that was put in: at which commit, and whether the value rises."""

    model: str
    metric: str
    commit: int
    rises: bool


def sha(number: int) -> str:
    """The made-up commit of a number."""
    return hashlib.sha1(f"commit {number}".encode()).hexdigest()


def models_of(count: int) -> list[str]:
    """Names of models: the five mixers in turn, at made-up scales."""
    return [f"unified_{MIXERS[n % 5]}_{SCALES[n // 5 % 4]}{n // 20 or ''}" for n in range(count)]


def values_of(
    commits: int, models: list[str], seed: int
) -> tuple[dict[tuple[str, str], Floats], Floats, list[Planted]]:
    """Values (commits,) by model and metric, the probe's, and the planted steps: three series in ten have some."""
    random = np.random.default_rng(seed)
    drift = np.cumsum(random.normal(scale=0.004, size=commits))
    speed = np.exp(0.05 * np.sin(np.arange(commits) / 40) + drift - np.linspace(0, drift[-1], commits))
    planted, found = [], {}
    for model in models:
        for metric, (_, level, noise, size) in METRICS.items():
            shape = np.zeros(commits)
            room = max(0, commits // (2 * FEWEST) - 1)
            steps = min(room, int(random.integers(1, 4))) if random.random() < 0.3 else 0
            slots = random.choice(room, size=steps, replace=False) if steps else []
            for slot in sorted(slots):
                place = int((2 * slot + 1) * FEWEST + random.integers(0, FEWEST))
                rises = bool(random.random() < 0.5)
                shape[place:] += math.log1p(size) if rises else -math.log1p(size)
                planted.append(Planted(model, metric, place, rises))
            log = shape + random.normal(scale=noise, size=commits) if noise else shape
            if metric in SPEEDS:
                bursts = np.where(random.random(commits) < 0.02, random.uniform(0.2, 0.35, commits), 0.0)
                # two bursts seldom meet on a series; three in five commits would be a step to anybody
                bursts[1:][bursts[:-1] > 0] = 0
                bursts[2:][bursts[:-2] > 0] = 0
                log = log + SPEEDS[metric] * (np.log(speed) + np.log1p(-bursts))
            found[model, metric] = level * np.exp(log)
            if metric == "params":
                found[model, metric] = np.round(found[model, metric])
    return found, 5e10 * speed * np.exp(random.normal(scale=0.003, size=commits)), planted


def rows_of(commit: int, values: dict[tuple[str, str], Floats], probe: Floats) -> Iterator[Row]:
    """The rows of one commit's profile."""
    common = {
        "run_id": f"run{commit}",
        "created_utc": START + datetime.timedelta(hours=6 * commit),
        "kind": "summary",
        "analysis": "profile",
        "definition": "profile.v2",
        "device": "cpu",
        "dtype": "fp32",
        "compile": False,
        "resolution": 224,
    }
    yield Row(**common, metric="probe_peak", unit="MAC/s", value=float(probe[commit]))
    for (model, metric), series in values.items():
        _, mixer, scale = model.split("_", 1)[0], *model.removeprefix("unified_").rsplit("_", 1)
        value = float(series[commit])
        yield Row(
            **common,
            model=model,
            architecture="unified",
            mixer=mixer,
            scale=scale,
            weights="random:0",
            metric=metric,
            unit=METRICS[metric][0],
            value=value,
            batch_size=1 if metric == "latency" else 16,
            condition="p50" if metric == "latency" else None,
            **({"ci_low": 0.99 * value, "ci_high": 1.01 * value} if metric in SPEEDS else {}),
        )


def make(folder: Path, *, commits: int, models: int, seed: int) -> tuple[History, list[Planted]]:
    """Write FOLDER/history, through the same function as `stmbench history add`."""
    values, probe, planted = values_of(commits, models_of(models), seed)
    history = History(folder / "history")
    slots = {mixer: {"title": mixer, "abbreviation": mixer, "palette_slot": slot} for slot, mixer in enumerate(MIXERS)}
    facts = {"cpu": "AMD EPYC", "cores": 2}
    numbers = {sha(number): number for number in range(commits)}

    def known(name: str) -> Commit:
        number = numbers[name]
        date = START + datetime.timedelta(hours=6 * number)
        parents = (sha(number - 1),) if number else ()
        return Commit(sha=name, parents=parents, date=date, subject=f"Made-up change {number}")

    for commit in range(commits):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            store = Store(Path(scratch))
            metadata = {"commit": sha(commit), "machine_id": MACHINE, "machine": facts, "mixers": slots}
            store.write("profile", rows_of(commit, values, probe), metadata=metadata)
            adding.add(store, history, find=known)
    return history, planted


def compare(machines: list[MachineSeries], planted: list[Planted]) -> tuple[list[Planted], list[Event]]:
    """Planted steps that were missed, and steps found that were not planted.

    A step counts as found where the planted commit is among the suspects and the direction is right.
    """
    missed, made_up = list(planted), []
    for machine in machines:
        places = {facts.commit: number for number, facts in enumerate(machine.commits)}
        for event in events_of(machine):
            subject, suspects = event.series.key, {places[facts.commit] for facts in event.suspects}
            for step in missed:
                same = (step.model, step.metric) == (subject.model, subject.metric)
                if (
                    same
                    and step.commit in suspects
                    and step.rises == (event.change_point.after > event.change_point.before)
                ):
                    missed.remove(step)
                    break
            else:
                made_up.append(event)
    return missed, made_up


def build(history: History, out: Path) -> tuple[float, list[MachineSeries], Path]:
    """Seconds from the folder to the site, the series, and the page."""
    start = time.perf_counter()
    machines = machines_of(history.records())
    page = write_dashboard(machines, out, title="A made-up history")["page"]
    return time.perf_counter() - start, machines, page


def main(folder: Path, *, commits: int, models: int, seed: int) -> int:
    """Make, build twice and compare; 1 where something is wrong."""
    start = time.perf_counter()
    history, planted = make(folder, commits=commits, models=models, seed=seed)
    print(
        f"history   {commits} commits x {models} models x {len(METRICS)} metrics, {time.perf_counter() - start:.1f} s"
    )
    for file in history.folder.glob(f"*/*/{SUMMARY}"):
        file.unlink()
    cold, _, _ = build(history, folder / "site")
    seconds, machines, page = build(history, folder / "site")
    missed, made_up = compare(machines, planted)
    sizes = [len(event.suspects) for machine in machines for event in events_of(machine)]
    print(f"build     {seconds:.1f} s; {cold:.1f} s where every summary has to be made again from the parts")
    print(f"page      {page.stat().st_size / 1e6:.2f} MB")
    print(f"steps     {len(planted)} planted, {len(missed)} missed, {len(made_up)} made up")
    print(f"suspects  {np.median(sizes or [0]):.0f} commits a step (median), {max(sizes, default=0)} at most")
    for step in missed:
        print(f"missed    {step}")
    for event in made_up:
        print(f"made up   {event.series.key.model} {event.series.key.metric} {event.change_point}")
    return int(bool(missed or made_up) or seconds > LIMIT)


def errors(seeds: int, *, commits: int, models: int) -> int:
    """Planted steps that are missed, and steps that are made up, over several histories; 1 where there are any."""
    series, planted, missed, made_up = 0, 0, 0, 0
    for seed in range(1, seeds + 1):
        values, probe, steps = values_of(commits, models_of(models), seed)
        series, planted = series + len(values), planted + len(steps)
        speed = probe / np.median(probe)
        for (model, metric), own in values.items():
            wanted = [step.commit for step in steps if (step.model, step.metric) == (model, metric)]
            for step in fit(tracked_metric(metric), own / speed ** SPEEDS.get(metric, 0)).change_points:
                hits = [commit for commit in wanted if step.earliest <= commit <= step.latest]
                made_up += not hits
                wanted = [commit for commit in wanted if commit not in hits[:1]]
            missed += len(wanted)
    print(f"{series} series of {commits} commits: {planted} steps planted, {missed} missed, {made_up} made up")
    return int(missed + made_up > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--commits", type=int, default=1000)
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int)
    given = parser.parse_args()
    if given.seeds:
        sys.exit(errors(given.seeds, commits=given.commits, models=given.models))
    with tempfile.TemporaryDirectory() as temporary:
        where = given.folder or Path(temporary)
        where.mkdir(parents=True, exist_ok=True)
        sys.exit(main(where, commits=given.commits, models=given.models, seed=given.seed))
