"""Images a second of the training loop beside a bare one: forward, backward, AdamW step on tensors that are there.

    python benchmarks/training.py                     dw_conv nano on digits, and micro at 224 on images of noise
    python benchmarks/training.py --only digits --rounds 30

Prints a Markdown table. The bare loop has no data, no augmentation, no clipping, no average of weights and no schedule:
the ratio is what all of that costs where one process does everything. With one thread on a CPU it is of the
processor's time, which a busy machine does not stretch. After each epoch of ours, whose evaluation is not counted, the
bare loop does as many steps: rounds of the two, paired.
"""

from __future__ import annotations

import argparse
import dataclasses
import time

import numpy as np
import torch
from PIL import Image

from stmbench.architectures.catalog import create_model
from stmbench.data.embedded import Digits
from stmbench.data.image_set import ImageSet, Labels
from stmbench.measure.bootstrap import median_interval, paired_ratio
from stmbench.tasks.base import TrainingData
from stmbench.training.distributed import ProcessGroup
from stmbench.training.loop import Loop
from stmbench.training.presets import DIGITS, STM_CONV
from stmbench.training.recipe import Recipe
from stmbench.training.settings import TrainingSettings


class Noise(ImageSet):
    """Images of noise, as large as ImageNet's often are once their short side is 256."""

    name, split, classes = "noise", "train", tuple("0123456789")

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        pixels = np.random.default_rng(index).integers(0, 256, (256, 341, 3), dtype=np.uint8)
        return Image.fromarray(pixels), index % 10

    def labels(self) -> Labels:
        return np.arange(self.count, dtype=np.int64) % 10

    def fingerprint(self) -> str:
        return f"noise-{self.count}"


class FewDigits(Digits):
    """So few that evaluating them leaves caches and heap to the epoch that follows as the bare loop finds them."""

    def __len__(self) -> int:
        return 8


def measured(
    model: str, recipe: Recipe, train: ImageSet, test: ImageSet, steps: int, rounds: int, device: str
) -> tuple[list[float], list[float]]:
    """Seconds of `steps` steps in each round: ours, and the bare loop's."""
    recipe = dataclasses.replace(recipe, epochs=rounds + 1, warmup_epochs=0)  # the first round warms up
    settings = TrainingSettings(model=model, recipe=recipe, dataset=train.name)
    chosen = tuple(range(steps * recipe.batch_size))
    data = TrainingData(train=train, test=test, chosen=chosen, num_classes=10)
    bare, seconds = create_model(model, num_classes=10).to(device).train(), list[float]()
    alone = device == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.monotonic
    optimizer = torch.optim.AdamW(bare.parameters(), lr=1e-3, fused=True)  # as ours

    def keep(loop: Loop, reached: str) -> None:
        if reached == "epoch":
            x = torch.randn(recipe.batch_size, 3, *loop.task.size, device=device)
            y = torch.arange(recipe.batch_size, device=device) % 10
            began = clock()
            follow(x, y)
            seconds.append(clock() - began)

    def follow(x: torch.Tensor, y: torch.Tensor) -> None:
        for _ in range(steps):
            torch.nn.functional.cross_entropy(bare(x), y).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if device != "cpu":
            torch.cuda.synchronize()

    loop = Loop(settings, data, ProcessGroup(device=torch.device(device)), keep=keep, tell=lambda *_: None,
                clock=clock)  # fmt: skip
    ours = [epoch.seconds for epoch in loop.run().epochs]
    return ours[1:], seconds[1:]


def main() -> None:
    """Measure both kinds of run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=("digits", "noise"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    noise = dataclasses.replace(STM_CONV, batch_size=8)
    cases = {
        "digits": ("unified_dw_conv_nano", DIGITS, Digits(split="train"), FewDigits(split="test"), 22),  # a whole epoch
        "noise": ("unified_dw_conv_micro", noise, Noise(16), Noise(1), 2),
    }
    print(f"{options.rounds} rounds, torch {torch.__version__}, {options.threads} threads, {options.device}\n")
    print("| model | images | recipe | ours, images/s | bare, images/s | times as long | 95 % |\n" + "|---" * 7 + "|")
    for name, (model, recipe, train, test, steps) in cases.items():
        if options.only in (None, name):
            ours, bare = measured(model, recipe, train, test, steps, options.rounds, options.device)
            ratio, count = paired_ratio(ours, bare), steps * recipe.batch_size
            speeds = [count / median_interval(seconds).estimate for seconds in (ours, bare)]
            print(f"| {model} | {name} | {'digits' if name == 'digits' else 'stm_conv'}, batch {recipe.batch_size} | "
                  f"{speeds[0]:.4g} | {speeds[1]:.4g} | {ratio.estimate:.2f} | {ratio.low:.2f} to {ratio.high:.2f} |",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
