"""Whole networks with the compiled kernels and without, training and inference: `python -m benchmarks.kernels`.

    python -m benchmarks.kernels                          the mixers that have kernels, tiny at 224, batch 4
    python -m benchmarks.kernels --scale nano --resolution 32 --batch-size 64
    python -m benchmarks.kernels --mixers dcnv3 --starts 8

One thread, seconds of the processor, two settings in turn, each first in every other round. Prints a Markdown table:
milliseconds with kernels, how many times as long the network takes without (95 % interval of the paired ratio), and
which kernels ran. `--against FOLDER` compares with another checkout instead. Each network is in a process of its own,
one for each checkout, and they are started several times, each first in every other start: where memory happens to lie
decides a per cent or two of a pass, for as long as the process lives. The interval covers that too.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import subprocess
import sys
import time

import numpy as np
import torch

from stmbench.architectures.catalog import create_model
from stmbench.kernels.setting import counted
from stmbench.measure.backend_settings import keep_freed_memory
from stmbench.measure.effects import between_group_error, paired_effect
from stmbench.measure.statistics import MIN_ROUNDS

MIXERS = (
    *("dcnv3", "dcnv4", "halo_attn", "sw_attn", "cot", "coxt", "involution", "outlook_attn", "aggregated_attn"),
    *("dw_conv", "mh_dw_conv", "gated_conv_only", "rep_large_kernel", "focal_modulation"),
)
KERNELS = "STMBENCH_KERNELS"
MODES, SIDES = ("inference", "training"), ("ours", "other")


class Network:
    """One network and its input; `time` does one pass."""

    def __init__(self, name: str, resolution: int, batch_size: int) -> None:
        torch.manual_seed(0)
        self.model = create_model(name, img_size=resolution)
        self.x = torch.randn(batch_size, 3, resolution, resolution)

    def time(self, *, train: bool) -> float:
        """Seconds of the processor."""
        self.model.train(train)
        self.model.zero_grad(set_to_none=True)
        start = time.thread_time()
        with torch.set_grad_enabled(train):
            y = self.model(self.x)
            if train:
                y.sum().backward()
        return time.thread_time() - start


def serve(options: argparse.Namespace) -> None:
    """The process of a network: for each line that it reads, a mode and a setting, a time and which kernels ran."""
    network = Network(options.serve, options.resolution, options.batch_size)
    for line in sys.stdin:
        mode, os.environ[KERNELS] = line.split()
        with counted() as calls:
            seconds = network.time(train=mode == "training")
        print(json.dumps([seconds, calls]), flush=True)


class Served:
    """A network in a process of its own, of the checkout in `folder`."""

    def __init__(self, folder: str, name: str, options: argparse.Namespace) -> None:
        command = [sys.executable, os.path.abspath(__file__), "--serve", name]
        command += ["--resolution", str(options.resolution), "--batch-size", str(options.batch_size)]
        environment = {**os.environ, "PYTHONPATH": folder}
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
        )

    def time(self, mode: str, setting: str) -> tuple[float, dict[str, int]]:
        """Seconds of the processor, and how often each kernel ran."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        print(mode, setting, file=stdin, flush=True)
        line = stdout.readline()
        if not line:
            raise SystemExit(f"{mode} failed in {self.process.args!r}")
        seconds, calls = json.loads(line)
        return seconds, calls


def compared(name: str, options: argparse.Namespace) -> None:
    """The two rows of one network."""
    seconds = {(mode, side): list[float]() for mode in MODES for side in SIDES}
    starts, ran = list[int](), dict[str, str]()
    for start in range(options.starts):
        sides = _started(name, options, first=SIDES[start % 2])
        for mode in MODES:
            for turn in range(options.rounds + 1):
                for side in SIDES if turn % 2 else reversed(SIDES):
                    served, setting = sides[side]
                    spent, calls = served.time(mode, setting)
                    if side == "ours":
                        ran[mode] = ", ".join(f"{count} {kernel}" for kernel, count in sorted(calls.items())) or "none"
                    if turn:  # the first is a warm-up
                        seconds[mode, side].append(spent)
        starts += [start] * options.rounds
        for served in {served for served, _ in sides.values()}:
            served.process.communicate()
    for mode in MODES:
        ours, other = seconds[mode, "ours"], seconds[mode, "other"]
        effect = paired_effect(ours, other)
        between = between_group_error(np.log(other) - np.log(ours), starts)
        low, high = dataclasses.replace(effect, error=max(effect.error, between)).interval
        print(f"| {name} | {mode} | {1000 * np.median(ours):.1f} | {math.exp(effect.estimate):.2f} | "
              f"{math.exp(low):.2f} to {math.exp(high):.2f} | {ran[mode]} |", flush=True)  # fmt: skip


def _started(name: str, options: argparse.Namespace, *, first: str) -> dict[str, tuple[Served, str]]:
    """Of each side a process and its setting; with no other checkout one process is both sides."""
    here = os.getcwd()
    if not options.against:
        served = Served(here, name, options)
        return {"ours": (served, "auto"), "other": (served, "off")}
    folders = {"ours": here, "other": os.path.abspath(options.against)}
    order = SIDES if first == SIDES[0] else SIDES[::-1]
    return {side: (Served(folders[side], name, options), "auto") for side in order}


def main() -> None:
    """Every mixer, inference and training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixers", default=",".join(MIXERS))
    parser.add_argument("--scale", default="tiny")
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5, help="of each start")
    parser.add_argument("--against", metavar="FOLDER")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.starts * options.rounds < MIN_ROUNDS:
        parser.error(f"expected {MIN_ROUNDS} rounds or more in all, got {options.starts * options.rounds}")
    torch.set_num_threads(1)
    keep_freed_memory()
    if options.serve:
        serve(options)
        return
    print("| network | mode | ms | without kernels, times | 95 % | kernels |\n|---|---|---|---|---|---|")
    for mixer in options.mixers.split(","):
        compared(f"unified_{mixer}_{options.scale}", options)


if __name__ == "__main__":
    main()
