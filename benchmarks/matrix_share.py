"""How much of a matrix product's speed whole networks reach: `python -m benchmarks.matrix_share`.

    python -m benchmarks.matrix_share --batch-size 4 --mixers dcnv3

One thread, seconds of the processor, inference in float32. The product is of two matrices of 2,048 x 2,048, timed in
turn with the network: each round has one product and two passes, of which the second counts, as its caches hold what a
network leaves there. Each network is in a process of its own, which is started several times: where memory happens to
lie decides a per cent or two for as long as it lives. The share is the multiply-adds that `profile` counts in a second,
over those of the product (median and 95 % interval of the rounds' shares, which covers the differences of starts).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from stmbench.architectures.catalog import create_model
from stmbench.measure.backend_settings import keep_freed_memory
from stmbench.measure.counting import count
from stmbench.measure.effects import between_group_error, paired_effect
from stmbench.measure.statistics import MIN_ROUNDS

MIXERS = ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")
SIDE = 2048


def seconds(work: Callable[[], object]) -> float:
    """Of the processor."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


def measured(name: str, options: argparse.Namespace) -> dict[str, list[float]]:
    """Of one start: seconds of the passes, and shares."""
    torch.set_num_threads(1)
    keep_freed_memory()
    torch.manual_seed(0)
    model, matrix = create_model(name).eval(), torch.randn(SIDE, SIDE)
    size = options.resolution
    x = torch.randn(options.batch_size, 3, size, size)
    macs = options.batch_size * count(model, (3, size, size)).macs
    shares, passes = list[float](), list[float]()
    with torch.no_grad():
        for _ in range(options.rounds):
            product = seconds(lambda: matrix @ matrix)
            model(x)
            passes.append(seconds(lambda: model(x)))
            shares.append(macs / passes[-1] / (SIDE**3 / product))
    return {"passes": passes, "shares": shares}


def measure(name: str, batch_size: str, options: argparse.Namespace) -> None:
    """The row of one network."""
    passes, shares, starts = list[float](), list[float](), list[int]()
    for start in range(options.starts):
        one = ["--one", name, "--batch-size", batch_size]
        rest = ["--resolution", str(options.resolution), "--rounds", str(options.rounds)]
        command = [sys.executable, "-m", "benchmarks.matrix_share", *one, *rest]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        passes += found["passes"]
        shares += found["shares"]
        starts += [start] * options.rounds
    effect = paired_effect(np.ones(len(shares)), shares)
    error = max(effect.error, between_group_error(np.log(shares), starts))
    low, high = dataclasses.replace(effect, error=error).interval
    print(f"| {name} | {batch_size} | {1000 * np.median(passes):.0f} | {math.exp(effect.estimate):.2f} | "
          f"{math.exp(low):.2f} to {math.exp(high):.2f} |", flush=True)  # fmt: skip


def main() -> None:
    """A row for each mixer and batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixers", default=",".join(MIXERS))
    parser.add_argument("--scale", default="tiny")
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--batch-size", default="4,16")
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5, help="of each start")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        options.batch_size = int(options.batch_size)
        print(json.dumps(measured(options.one, options)))
        return
    if options.starts * options.rounds < MIN_ROUNDS:
        parser.error(f"expected {MIN_ROUNDS} rounds or more in all, got {options.starts * options.rounds}")
    print("| network | batch | ms | share | 95 % |\n|---|---|---|---|---|", flush=True)
    for mixer in options.mixers.split(","):
        for batch_size in options.batch_size.split(","):
            measure(f"unified_{mixer}_{options.scale}", batch_size, options)


if __name__ == "__main__":
    main()
