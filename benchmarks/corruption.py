"""What the corruptions cost: images per second of each at 224 px.

    python benchmarks/corruption.py                    on the CPU, 224 px, batches of 16
    python benchmarks/corruption.py --device cuda --batch-size 64

Prints a Markdown table: images per second over the five severities, and the milliseconds per image at the fastest and
the slowest one, each the median over rounds. On the CPU it is the processor's time of one thread, which what else runs
on the machine hardly changes; more threads, or a GPU, are timed by the clock.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from stmbench.analyses.corruption.options import CORRUPTIONS, SEVERITIES
from stmbench.analyses.corruption.transforms import corrupt
from stmbench.data.embedded import photo
from stmbench.data.preprocessing import Preprocessing
from stmbench.measure.backend_settings import keep_freed_memory
from stmbench.measure.clock import timer_for


def processor_time(run: Callable[[], object]) -> float:
    """Seconds of this process on the processor."""
    started = time.process_time()
    run()
    return time.process_time() - started


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.device == "cpu":
        keep_freed_memory()
    preprocessing = Preprocessing(size=(options.resolution, options.resolution))
    images = torch.stack([preprocessing.pixels(photo(number)) for number in range(options.batch_size)])
    images = images.to(options.device)
    timer, indices = timer_for(options.device), range(options.batch_size)
    by_processor = options.device == "cpu" and options.threads == 1
    seconds_of = processor_time if by_processor else timer.time
    print(f"{options.resolution} px, {options.device}, batches of {options.batch_size}, torch {torch.__version__}, "
          f"{torch.get_num_threads()} threads\n")  # fmt: skip
    print("| corruption | images/s | fastest severity, ms | slowest severity, ms |\n|---|---|---|---|")
    totals = []
    for name in CORRUPTIONS:
        each = []
        for severity in SEVERITIES:
            run = lambda name=name, severity=severity: corrupt(images, name, severity, indices)  # noqa: E731
            run()  # kernels, matrices and fronts are cached
            seconds = [seconds_of(run) for _ in range(options.rounds)]
            each.append(1000 * float(np.median(seconds)) / len(images))
        totals.append(sum(each))
        print(f"| {name} | {1000 * 5 / sum(each):,.0f} | {min(each):.2f} | {max(each):.2f} |", flush=True)
    print(f"| all fifteen, five severities | {1000 / sum(totals):,.1f} | | |")


if __name__ == "__main__":
    main()
