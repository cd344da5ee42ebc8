"""How often `stmbench compare --live` cries wolf, and how often it misses one.

    python benchmarks/compare.py record --out FOLDER     real sessions of equal code, every round kept
    python benchmarks/compare.py resample FOLDER         error rates over trials made of the recorded rounds
    python benchmarks/compare.py trials --out FOLDER     real comparisons, with nothing, 5 % and 10 % planted in head

`record` runs pairs of fresh processes on the same code, a budget of 60 s a model. `resample` makes trials: it picks a
session, draws blocks of its rounds (of twice the length that the interval's bootstrap uses, so that bursts stay whole),
multiplies head's times by 1, 1.05 or 1.10, and lets sampling look at it as it looks at a real run, stopping included.
`trials` runs the comparison itself and needs no assumption.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from stmbench.analyses.compare.config import LOOKS, LiveConfig
from stmbench.analyses.compare.live import Live
from stmbench.analyses.compare.pair import Pair
from stmbench.analyses.compare.process import Process
from stmbench.analyses.compare.sampling import PROCESSOR, WALL, Round, Samples, is_clear, sample
from stmbench.analyses.compare.sides import side
from stmbench.measure.verdicts import judge

ROOT = Path(__file__).parents[1]
MODELS = ("unified_dw_conv_micro", "unified_halo_attn_micro", "unified_dcnv3_micro")
SLOWDOWNS = (0.0, 0.05, 0.10)
NEVER_CLEAR = 10**12  # comparisons that share alpha: none of them ever claims a change
CLOCKS = {"processor": PROCESSOR, "wall": WALL}


def config(models: tuple[str, ...], seconds: float, **options: Any) -> LiveConfig:
    """The setting of every run here: small enough for a sample of about 50 ms."""
    return LiveConfig(models=models, batch_size=4, resolution=(112, 112), seconds=seconds, **options)


def record(out: Path, sessions: int, seconds: float) -> None:
    """Real sessions of equal code, each of two fresh processes; as many as asked for of every model."""
    out.mkdir(parents=True, exist_ok=True)
    for number in range(sessions):
        for model in MODELS:
            wanted = config((model,), seconds, margin=1e-9)
            with Pair(_sides(), wanted, Process) as pair:
                samples = sample(
                    pair.workers(),
                    lambda pair=pair, model=model: pair.load(model),
                    wanted,
                    tests=NEVER_CLEAR,
                    clock=time.monotonic,
                    tell=lambda _: None,
                    seed=number,
                )
            path = out / f"{model}.{time.time_ns()}.json"
            path.write_text(json.dumps(dataclasses.asdict(samples)))
            effects = {name: samples.effect(clock).estimate for name, clock in CLOCKS.items()}
            print(path.name, len(samples.rounds), {name: f"{value:+.2%}" for name, value in effects.items()}, flush=True)


def _sides() -> tuple[Any, Any]:
    return side(str(ROOT)), side(str(ROOT))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("record", "resample", "trials"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    if arguments.what == "record":
        record(arguments.folder, arguments.sessions, arguments.seconds)


if __name__ == "__main__":
    main()
