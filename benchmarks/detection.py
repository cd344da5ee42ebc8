"""Training detectors: our loop beside a bare one over the same model, images and optimiser.

    python benchmarks/detection.py --model maskrcnn:unified_dw_conv_nano --images 64 --rounds 10

    python benchmarks/detection.py --kernels --rounds 40    a step with the compiled kernels and without, in turn

The bare loop: tensors and targets that wait in memory, the sum of the losses, backward, clipping, AdamW.
It has no order, no mirroring, no schedule, no look at the losses. The two alternate, an epoch each; the time of ours is
without its evaluation. Evaluation: the share of its time that is spent outside of the detector. With `--kernels` times
are seconds of the processor, of the bare loop's step and of its parts.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import random
import time
from collections import defaultdict

import torch
from torch import nn

from stmbench.architectures.catalog import create_model
from stmbench.data.detection.transforms import as_tensor
from stmbench.measure.bootstrap import median_interval, paired_ratio
from stmbench.tasks.base import open_data
from stmbench.tasks.detection.task import Detection
from stmbench.training.distributed import ProcessGroup
from stmbench.training.loop import Loop
from stmbench.training.presets import DETECTION_SMALL
from stmbench.training.settings import TrainingSettings


class Watched(nn.Module):
    """A detector that notes the seconds of its calls."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector, self.seconds = detector, 0.0

    def forward(self, images: list[torch.Tensor]) -> object:
        start = time.perf_counter()
        found = self.detector(images)
        self.seconds += time.perf_counter() - start
        return found


def with_kernels(bare: nn.Module, batches: list[tuple[object, object]], clip: float, rate: float, rounds: int) -> None:
    """Print a step's time with the compiled kernels and without, each batch in both settings, in a random order."""
    optimizer = torch.optim.AdamW(bare.parameters(), lr=rate, fused=True)
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    order = random.Random(0)
    for number in range(rounds + 2):  # two warm up
        for setting in order.sample(("auto", "off"), 2):
            os.environ["STMBENCH_KERNELS"] = setting
            images, targets = batches[number % len(batches)]
            torch.manual_seed(number)
            marks = [time.process_time()]
            loss = torch.stack(list(bare(images, targets).values())).sum()
            marks.append(time.process_time())
            loss.backward()
            marks.append(time.process_time())
            nn.utils.clip_grad_norm_(bare.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            marks.append(time.process_time())
            if number >= 2:
                parts = [end - start for start, end in itertools.pairwise(marks)]
                for name, seconds in zip(("forward", "backward", "update", "step"), [*parts, sum(parts)], strict=True):
                    found[name][setting].append(1e3 * seconds)
    print("| part | with kernels, ms | without, ms | without / with | 95 % |")
    print("|---|---|---|---|---|")
    for name, times in found.items():
        ratio = paired_ratio(times["off"], times["auto"], seed=0)
        ours, plain = (median_interval(times[setting], seed=0).estimate for setting in ("auto", "off"))
        print(f"| {name} | {ours:.0f} | {plain:.0f} | {ratio.estimate:.2f} | {ratio.low:.2f} to {ratio.high:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="maskrcnn:unified_dw_conv_nano")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kernels", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    recipe = dataclasses.replace(
        DETECTION_SMALL,
        epochs=chosen.rounds + 1,
        batch_size=chosen.batch,
        warmup_epochs=0.0,  # the first round warms up
    )
    run = TrainingSettings(model=chosen.model, recipe=recipe, dataset=f"shapes[count={chosen.images}]")
    data = open_data(run)
    bare = create_model(chosen.model, num_classes=data.num_classes).train()
    optimizer = torch.optim.AdamW(bare.parameters(), lr=recipe.scaled_lr)  # as fast as ours: positives cost more
    masks = bool(bare.has_masks)
    waiting = [(as_tensor(image), target) for image, target in (data.train.read(i, masks) for i in data.chosen)]
    if chosen.kernels:
        starts = range(0, len(waiting) - chosen.batch + 1, chosen.batch)
        batches = [tuple(map(list, zip(*waiting[first : first + chosen.batch], strict=True))) for first in starts]
        with_kernels(bare, batches, recipe.clip_grad or 1.0, recipe.scaled_lr, chosen.rounds)  # type: ignore[arg-type]
        return
    theirs = list[float]()

    def keep(_: Loop, reached: str) -> None:
        if reached != "epoch":
            return
        start = time.perf_counter()
        for first in range(0, len(waiting) - chosen.batch + 1, chosen.batch):
            images, targets = zip(*waiting[first : first + chosen.batch], strict=True)
            torch.stack(list(bare(list(images), list(targets)).values())).sum().backward()
            nn.utils.clip_grad_norm_(bare.parameters(), recipe.clip_grad or 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        theirs.append(time.perf_counter() - start)

    loop = Loop(run, data, ProcessGroup(), keep=keep, tell=lambda *_: None)
    ours = [epoch.seconds for epoch in loop.run().epochs][1:]
    theirs = theirs[1:]
    ratio = paired_ratio(ours, theirs, seed=0)
    rates = [chosen.images / median_interval(seconds, seed=0).estimate for seconds in (ours, theirs)]
    print(f"training {chosen.model}, {chosen.images} images in batches of {chosen.batch}, {chosen.threads} threads")
    print(f"ours {rates[0]:.1f} images/s, bare {rates[1]:.1f} images/s, time ratio {ratio.estimate:.3f} "
          f"({ratio.low:.3f} to {ratio.high:.3f}), {chosen.rounds} rounds")  # fmt: skip

    task = Detection(run, data, ProcessGroup())
    task.prepare(loop.model)
    watched = Watched(loop.model)
    watched.has_masks = masks  # type: ignore[assignment]
    for final in (False, True):
        watched.seconds, start = 0.0, time.perf_counter()
        task.score(watched, final=final)
        whole = time.perf_counter() - start
        words = "with intervals" if final else "without intervals"
        print(f"evaluation {words}: {whole:.2f} s, {1 - watched.seconds / whole:.1%} of it outside of the detector")


if __name__ == "__main__":
    main()
