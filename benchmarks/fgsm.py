"""FGSM at three eps with evaluation: one gradient for all of them beside three calls of torchattacks.

    python benchmarks/fgsm.py                                   all five mixers at micro and 224, on the CPU
    python benchmarks/fgsm.py --model timm:resnet18 --rounds 20
    python benchmarks/fgsm.py --device cuda --batch-size 64 --images 256

Each round runs both on the same images and model, in a random order. Ours gives the clean accuracy too, from the
attack's own forward pass, and everything that a row of `stmbench robustness` stands on (the reach and the range of the
images, the gradient's zeros, the check at eps 0); the library's calls give the accuracy at each eps and nothing else.
Prints the ratio of the times with the 95 % interval of the paired ratio, and whether the two agree image by image.
Needs the extra 'attacks'.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import Tensor

from stmbench.analyses.models import DTYPES, build_model
from stmbench.analyses.robustness.attacks import PAPER, attack_named, eps_of, ordered, predict
from stmbench.analyses.robustness.fgsm import Target, torchattacks
from stmbench.analyses.robustness.runner import attack_images
from stmbench.data.embedded import photo
from stmbench.data.preprocessing import Preprocessing
from stmbench.measure.bootstrap import median_interval, paired_ratio
from stmbench.measure.clock import timer_for
from stmbench.measure.interleaving import rounds

MICRO = [f"unified_{mixer}_micro" for mixer in ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")]
EPS = ordered(eps_of(text) for text in PAPER)
LIMIT = 0.58


def ours(target: Target, images: list[Tensor], labels: list[Tensor]) -> np.ndarray:
    """(4, N) predictions: clean, then at each eps."""
    places = np.cumsum([0, *map(len, images)])
    batches = [
        (pixels, goal, range(int(start), int(start) + len(pixels)))
        for pixels, goal, start in zip(images, labels, places, strict=False)
    ]
    found = attack_images(target, attack_named("fgsm"), batches, EPS)
    return np.concatenate([found.clean[None], found.adversarial])


def library(target: Target, images: list[Tensor], labels: list[Tensor]) -> np.ndarray:
    """(3, N) predictions at each eps: an attack, then a forward pass on what it made."""
    predictions = []
    for eps in EPS:
        attack = torchattacks().FGSM(target, eps=eps)
        found = []
        for pixels, goal in zip(images, labels, strict=True):
            adversarial = attack(pixels, goal)
            with torch.no_grad():
                found.append(target(adversarial).argmax(1).cpu())
        predictions.append(torch.cat(found).numpy())
    return np.stack(predictions)


def main() -> None:
    """Measure every model that was named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="can be given again; default: the five mixers at micro")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    options = parser.parse_args()
    timer = timer_for(options.device)
    print(f"{options.images} photographs in batches of {options.batch_size}, {options.dtype}, {options.device}, "
          f"{options.rounds} rounds, torch {torch.__version__}, {torch.get_num_threads()} threads\n")  # fmt: skip
    print("| model | ours, s | torchattacks, s | ratio | 95 % | predictions that differ |\n|---|---|---|---|---|---|")
    slow = []
    for name in options.model or MICRO:
        model = build_model(name, seed=0, device=options.device, dtype=options.dtype)
        preprocessing = Preprocessing.of(model)
        pixels = torch.stack([preprocessing.pixels(photo(number)) for number in range(options.images)])
        images = list(pixels.to(options.device).split(options.batch_size))
        target = Target(model, preprocessing.normalise, device=options.device, dtype=DTYPES[options.dtype])
        labels = [predict(target, batch) for batch in images]  # the model's own: an untrained one gets no label right
        mine, theirs = ours(target, images, labels), library(target, images, labels)  # and a warm-up
        differ = int((mine[1:] != theirs).sum())
        subjects = {
            "ours": lambda: timer.time(lambda: ours(target, images, labels)),  # noqa: B023
            "library": lambda: timer.time(lambda: library(target, images, labels)),  # noqa: B023
        }
        seconds: dict[str, list[float]] = {key: [] for key in subjects}
        for samples, _ in zip(rounds(subjects, seed=0), range(options.rounds), strict=False):
            for sample in samples:
                seconds[sample.workload].append(sample.seconds)
        ratio = paired_ratio(seconds["ours"], seconds["library"])
        times = [median_interval(seconds[key]).estimate for key in subjects]
        print(f"| {name} | {times[0]:.3f} | {times[1]:.3f} | {ratio.estimate:.3f} | {ratio.low:.3f} to "
              f"{ratio.high:.3f} | {differ} of {theirs.size} |", flush=True)  # fmt: skip
        slow += [name] * (ratio.estimate > LIMIT)
    print(f"\nat most {LIMIT}: {'not ' + ', '.join(slow) if slow else 'all'}")


if __name__ == "__main__":
    main()
