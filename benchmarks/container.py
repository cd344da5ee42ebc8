"""CONTAINER's attention and convolution with one projection, beside plain self-attention of the same width.

    python benchmarks/container.py                    the positions of container_tiny at 224, batch 4, inference
    python benchmarks/container.py --train            forward and backward

Prints a Markdown table: milliseconds of self_attn, and how many times as long container takes, with the 95 % interval
of the paired ratio. The two are timed in turn, round by round, in one process. The bound is 1.2.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn

from stmbench.measure.bootstrap import median_interval, paired_ratio
from stmbench.measure.clock import timer_for
from stmbench.measure.interleaving import rounds
from stmbench.mixers.base import MIXERS, BlockPosition

SITES = ((0, 64, 56), (1, 128, 28), (2, 320, 14), (3, 512, 7))  # stage, channels, side of the map
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def runner(module: nn.Module, x: Tensor, train: bool) -> Callable[[], object]:
    """One forward pass, or one forward and backward pass."""
    if train:
        return lambda: module(x).float().square().mean().backward()

    def infer() -> Tensor:
        with torch.inference_mode():
            y: Tensor = module(x)
            return y

    return infer


def main() -> None:
    """Measure both at each stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--kernel", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    timer, dtype = timer_for(options.device), DTYPES[options.dtype]
    mode = "forward and backward" if options.train else "inference"
    print(f"batch {options.batch_size}, {options.dtype}, {options.device}, {mode}, kernel {options.kernel}, "
          f"{options.rounds} rounds, torch {torch.__version__}, {torch.get_num_threads()} threads\n")  # fmt: skip
    print("| stage | map | self_attn, ms | container, times as long | 95 % |\n|---|---|---|---|---|")
    for stage, dim, side in SITES:
        position = BlockPosition(stage=stage, block=0, dim=dim, resolution=(side, side))
        x = torch.randn(options.batch_size, side, side, dim, device=options.device, dtype=dtype)
        modules = {
            "self_attn": MIXERS.get("self_attn").build(position),
            "container": MIXERS.get("container").build(position, kernel=options.kernel),
        }
        run = {}
        for name, module in modules.items():
            given = x.clone().requires_grad_() if options.train else x
            run[name] = runner(module.to(options.device, dtype).train(options.train), given, options.train)
        for _ in range(3):
            for function in run.values():
                timer.time(function)
        subjects = {name: (lambda f=function: timer.time(f)) for name, function in run.items()}
        seconds: dict[str, list[float]] = {name: [] for name in run}
        for samples, _ in zip(rounds(subjects, seed=0), range(options.rounds), strict=False):
            for sample in samples:
                seconds[sample.workload].append(sample.seconds)
        ratio = paired_ratio(seconds["container"], seconds["self_attn"])
        plain = median_interval(seconds["self_attn"]).estimate * 1e3
        print(f"| {stage + 1} | {side}x{side}x{dim} | {plain:.2f} | {ratio.estimate:.2f} | "
              f"{ratio.low:.2f} to {ratio.high:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
