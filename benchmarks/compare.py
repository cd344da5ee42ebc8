"""How often `stmbench compare --live` cries wolf, and how often it misses one.

    python benchmarks/compare.py record FOLDER       real sessions of equal code, every round kept
    python benchmarks/compare.py resample FOLDER     error rates over trials made of the recorded rounds
    python benchmarks/compare.py trials FILE         real comparisons, with nothing, 5 % and 10 % planted in head
    python benchmarks/compare.py count FILE          what came of them

`record` runs pairs of fresh processes on the same code, 60 s of sampling a model. `resample` makes trials of them: it
takes one session, draws layouts of memory from it and, within each, blocks of neighbouring rounds (bursts stay whole),
multiplies head's times by 1, 1.05 or 1.10, and lets sampling look at them as it looks at a real run, stopping included.
`trials` runs whole comparisons and assumes nothing; it appends a line to FILE for each and can be stopped at any time.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stmbench.comparison.live import Live, WorkerPair
from stmbench.comparison.sampling import LAYOUTS, LOOKS, PROCESSOR, WALL, LiveConfig, Round, Samples, is_clear, sample
from stmbench.comparison.worker_process import CodeVersion, WorkerProcess, code_version
from stmbench.measure.effects import decide_verdict

ROOT = Path(__file__).parents[1]
MODELS = ("unified_dw_conv_micro", "unified_halo_attn_micro", "unified_dcnv3_micro")
SLOWDOWNS = (0.0, 0.05, 0.10)
MARGIN = 0.03
NEVER_CLEAR = 10**12  # comparisons that share alpha: none of them ever claims a change
CLOCKS = {"processor": PROCESSOR, "wall": WALL}


def config(models: tuple[str, ...], seconds: float, **options: Any) -> LiveConfig:
    """The setting of every run here: small enough for a sample of about 50 ms."""
    return LiveConfig(models=models, batch_size=4, resolution=(112, 112), seconds=seconds, **options)


def sides() -> tuple[CodeVersion, CodeVersion]:
    """This checkout, twice."""
    return code_version(str(ROOT)), code_version(str(ROOT))


def record(out: Path, sessions: int, seconds: float) -> None:
    """Real sessions of equal code, each of two fresh processes; as many as asked for of every model."""
    out.mkdir(parents=True, exist_ok=True)
    for number in range(sessions):
        for model in MODELS:
            wanted = config((model,), seconds, margin=1e-9)
            with WorkerPair(sides(), wanted, WorkerProcess) as pair:
                pair.load(model)
                samples = sample(
                    pair.workers(),
                    lambda pair=pair, model=model: pair.load(model),
                    wanted,
                    tests=NEVER_CLEAR,
                    clock=time.monotonic,
                    report_progress=lambda _: None,
                    seed=number,
                )
            path = out / f"{model}.{time.time_ns()}.json"
            path.write_text(json.dumps(dataclasses.asdict(samples)))
            effects = {name: samples.effect(clock).estimate for name, clock in CLOCKS.items()}
            print(
                path.name, len(samples.rounds), {name: f"{value:+.2%}" for name, value in effects.items()}, flush=True
            )


def sessions_of(folder: Path) -> dict[str, list[list[list[Round]]]]:
    """model -> its sessions, each a list of layouts, each a list of rounds."""
    found: dict[str, list[list[list[Round]]]] = {}
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text())
        rounds = [
            Round(first=item["first"], probe=_pairs(item["probe"]), passes=_pairs(item["passes"]))
            for item in record["rounds"]
        ]
        ends = [*record["layouts"][1:], len(rounds)]
        layouts = [rounds[start:end] for start, end in zip(record["layouts"], ends, strict=True) if end > start]
        found.setdefault(path.name.partition(".")[0], []).append(layouts)
    return found


def _pairs(values: Any) -> Any:
    return tuple(tuple(side) for side in values)


def drawn(layouts: list[list[Round]], slowdown: float, random: np.random.Generator) -> Iterator[list[Round]]:
    """A trial's layouts: the rounds of one real layout each, in blocks drawn with replacement."""
    for _ in range(LAYOUTS):
        rounds = layouts[random.integers(len(layouts))]
        length = max(1, 2 * round(len(rounds) ** (1 / 3)))
        starts = random.integers(0, len(rounds), size=-(-len(rounds) // length))
        places = (starts[:, None] + np.arange(length)).ravel()[: len(rounds)] % len(rounds)
        yield [_slower(rounds[place], slowdown) for place in places]


def _slower(item: Round, slowdown: float) -> Round:
    base, head = item.passes
    return dataclasses.replace(item, passes=(base, (head[0] * (1 + slowdown), head[1] * (1 + slowdown))))


def trial(layouts: list[list[Round]], slowdown: float, clock: int, random: np.random.Generator) -> tuple[str, int]:
    """The verdict of one trial, and how many of the layouts it took."""
    samples = Samples()
    for number, rounds in enumerate(drawn(layouts, slowdown, random), start=1):
        samples.layouts.append(len(samples.rounds))
        samples.rounds += rounds
        if number in config(MODELS, 60.0).looks and is_clear(samples, clock=clock, margin=MARGIN, tests=1):
            break
    effect = samples.effect(clock)
    verdict = decide_verdict(effect, min(1.0, len(LOOKS) * effect.p_value), margin=math.log1p(MARGIN))
    return verdict, len(samples.layouts)


def resample(folder: Path, trials: int) -> None:
    """Print the shares of verdicts, and the time that sampling took, by clock, model and slowdown."""
    found = sessions_of(folder)
    random = np.random.default_rng(0)
    print("| clock | model | sessions | slowdown | worse | better | same | inconclusive | time, s of 60 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, clock in CLOCKS.items():
        for slowdown in SLOWDOWNS:
            everything: list[tuple[str, int]] = []
            for model, sessions in found.items():
                chosen = [sessions[random.integers(len(sessions))] for _ in range(trials // len(found))]
                outcomes = [trial(layouts, slowdown, clock, random) for layouts in chosen]
                _print(name, model, len(sessions), slowdown, outcomes)
                everything += outcomes
            _print(name, "all", sum(map(len, found.values())), slowdown, everything)


def _print(clock: str, model: str, sessions: int, slowdown: float, outcomes: list[tuple[str, int]]) -> None:
    verdicts = [verdict for verdict, _ in outcomes]
    shares = [f"{verdicts.count(word) / len(verdicts):.1%}" for word in ("worse", "better", "same", "inconclusive")]
    seconds = 60 / LAYOUTS * float(np.mean([layouts for _, layouts in outcomes]))
    print(f"| {clock} | {model} | {sessions} | {slowdown:.0%} | {' | '.join(shares)} | {seconds:.0f} |", flush=True)


def run_trials(out: Path, first: int, count: int, seconds: float) -> None:
    """Whole comparisons of all models, `count` of each slowdown; a line of JSON for each model."""
    for number in range(first, first + count):
        for slowdown in SLOWDOWNS:
            start = time.monotonic()
            comparison = Live(*sides(), config(MODELS, seconds, plant=slowdown, seed=number)).run()
            took = time.monotonic() - start
            for finding in comparison.findings:
                line = {"slowdown": slowdown, "comparison": number, "took": took, **dataclasses.asdict(finding)}
                with out.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(finding.model, f"{slowdown:.0%}", finding.verdict, finding.effect, finding.seconds, flush=True)


def count_trials(out: Path) -> None:
    """Print what came of real trials."""
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    print(
        "| planted | trials | worse | better | same | inconclusive | head / base, smallest to largest | time, s of 60 |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for slowdown in SLOWDOWNS:
        chosen = [line for line in lines if line["slowdown"] == slowdown]
        if not chosen:
            continue
        counts = [
            sum(line["verdict"] == word for line in chosen) for word in ("worse", "better", "same", "inconclusive")
        ]
        effects = sorted(line["effect"] for line in chosen)
        seconds = float(np.median([line["seconds"] for line in chosen]))
        words = " | ".join(map(str, counts))
        span = f"{effects[0]:.3f} to {effects[-1]:.3f}"
        print(f"| {slowdown:.0%} | {len(chosen)} | {words} | {span} | {seconds:.0f} |")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("record", "resample", "trials", "count"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--sessions", type=int, default=6, help="of each model, for record")
    parser.add_argument("--trials", type=int, default=1000, help="of each slowdown and clock, for resample")
    parser.add_argument("--count", type=int, default=8, help="comparisons of each slowdown, for trials")
    parser.add_argument("--first", type=int, default=0, help="seed of the first of them")
    parser.add_argument("--seconds", type=float, default=60.0, help="time limit of sampling")
    arguments = parser.parse_args()
    match arguments.what:
        case "record":
            record(arguments.path, arguments.sessions, arguments.seconds)
        case "resample":
            resample(arguments.path, arguments.trials)
        case "trials":
            run_trials(arguments.path, arguments.first, arguments.count, arguments.seconds)
        case _:
            count_trials(arguments.path)


if __name__ == "__main__":
    main()
