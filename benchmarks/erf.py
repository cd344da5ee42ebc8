"""Gradient maps of all stages: the usual script beside ours, on the same images and model, interleaved.

    python benchmarks/erf.py                        the five micro models at 224, CPU, fp32
    python benchmarks/erf.py --dtype bf16           ours in bfloat16, the script in float32
    python benchmarks/erf.py --device cuda --batch-size 32

The usual script takes one image at a time, and a full forward pass and a gradient for each stage. Prints a Markdown
table: images per second of ours, and how many times as long the script takes, with the paired ratio's 95 % interval.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from stmbench.analyses.erf.analysis import gradient_maps
from stmbench.analyses.loaded_model import LoadedModel, load_model
from stmbench.analyses.stages import Stage, stages_of
from stmbench.data.embedded import photo
from stmbench.measure.backend_settings import keep_freed_memory
from stmbench.measure.bootstrap import median_interval, paired_ratio
from stmbench.measure.clock import timer_for
from stmbench.measure.interleaving import rounds

MIXERS = ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")


def script(loaded: LoadedModel, stages: list[Stage], images: Tensor) -> Callable[[], None]:
    """One image, one stage at a time; the gradient of the rectified central unit to the image."""

    def run() -> None:
        for image in images:
            for stage in stages:
                x = image[None].clone().requires_grad_(True)
                _, maps = loaded.model.forward_intermediates(x, output_fmt="NCHW")  # type: ignore[operator]
                found = maps[stage.index]
                unit = found[:, :, found.shape[2] // 2, found.shape[3] // 2].relu().sum()
                torch.autograd.grad(unit, x)[0].relu().sum((0, 1)).cpu()

    return run


def ours(loaded: LoadedModel, stages: list[Stage], images: Tensor, batch: int) -> Callable[[], None]:
    """What the analysis runs."""

    def run() -> None:
        for start in range(0, len(images), batch):
            for _ in gradient_maps(loaded.model, stages, images[start : start + batch]):
                pass

    return run


def main() -> None:
    """Measure the models one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="micro")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dtype", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.device == "cpu":
        keep_freed_memory()
    timer = timer_for(options.device)
    print(f"{options.scale}, 224 px, {options.images} photographs, {options.device}, ours {options.dtype} in "
          f"batches of {options.batch_size}, torch {torch.__version__}, "
          f"{torch.get_num_threads()} threads\n")  # fmt: skip
    print("| mixer | ours, images/s | the script takes, times | 95 % |\n|---|---|---|---|")
    for mixer in MIXERS:
        name = f"unified_{mixer}_{options.scale}"
        plain = load_model(name, device=options.device)
        fast = load_model(name, device=options.device, dtype=options.dtype)
        pixels = torch.stack([plain.preprocessing.pixels(photo(i)) for i in range(options.images)])
        stages = stages_of(plain.model)
        work = {
            "script": script(plain, stages, plain.input(pixels)),
            "ours": ours(fast, stages, fast.input(pixels), options.batch_size),
        }
        timed = {key: (lambda run=run: timer.time(run)) for key, run in work.items()}
        for run in timed.values():
            run()
        seconds: dict[str, list[float]] = {key: [] for key in work}
        for _, samples in zip(range(options.rounds), rounds(timed, seed=0), strict=False):
            for sample in samples:
                seconds[sample.workload].append(sample.seconds)
        ratio = paired_ratio(seconds["script"], seconds["ours"])
        speed = options.images / median_interval(seconds["ours"]).estimate
        print(f"| {mixer} | {speed:.1f} | {ratio.estimate:.2f} | {ratio.low:.2f} to {ratio.high:.2f} |", flush=True)


if __name__ == "__main__":
    main()
