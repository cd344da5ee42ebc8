"""What a level of translation or rotation costs: made in batches from decoded images, beside PIL image by image.

    python benchmarks/perturbations.py                 on the CPU, 224 px; then the share of the models' passes
    python benchmarks/perturbations.py --device cuda --batch-size 64

The usual path resizes and crops every image anew for every level (and turns it with PIL). Prints Markdown tables: the
milliseconds an image of a level, the share of the usual path with the 95 % interval of the paired ratio, how far the
device's bicubic rotation is from PIL's, and the share of the wall time of `stmbench invariance` that is the models'.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from stmbench.analyses.images import ImageRequest
from stmbench.analyses.invariance.analysis import Invariance
from stmbench.analyses.invariance.definitions import InvarianceConfig
from stmbench.analyses.loaded_model import LoadedModel
from stmbench.data.embedded import photo
from stmbench.data.perturbations import Perturbation, Rotation, Source, Translation
from stmbench.data.preprocessing import Preprocessing, to_pixels
from stmbench.measure.backend_settings import keep_freed_memory
from stmbench.measure.bootstrap import median_interval, paired_ratio
from stmbench.measure.clock import timer_for
from stmbench.measure.interleaving import rounds
from stmbench.tables import Store

MODEL = Preprocessing(size=(224, 224))
MIXERS = ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")
ANGLES = (5, 15, 30, 45)


def usual(images: list[Image.Image], degrees: float, device: str) -> Callable[[], torch.Tensor]:
    """Resize, turn unless by 0 degrees, crop, to the device: one image after the other."""

    def run() -> torch.Tensor:
        made = []
        for image in images:
            larger = MODEL.resized(image)
            if degrees:
                larger = larger.rotate(degrees, resample=Image.Resampling.BICUBIC)
            made.append(to_pixels(MODEL.cropped(larger)))
        return torch.stack(made).to(device)

    return run


def ours(images: list[Image.Image], made: Perturbation, level: float, device: str) -> Callable[[], torch.Tensor]:
    """From sources that are decoded once for all levels."""
    sources = [Source(pixels=made.prepare(image).to(device), index=number) for number, image in enumerate(images)]
    return lambda: made.make(sources, level)


def levels(options: argparse.Namespace) -> None:
    """What one level costs."""
    images = [photo(number) for number in range(options.batch_size)]
    timer, device = timer_for(options.device), options.device
    shift, turn = Translation(preprocessing=MODEL, fill="reflect"), Rotation(preprocessing=MODEL)
    cases = {
        "translation by 16 px": (usual(images, 0, device), ours(images, shift, 16, device)),
        "rotation by 30 degrees": (usual(images, 30, device), ours(images, turn, 30, device)),
    }
    print("| a level of | ours, ms an image | PIL, ms an image | ours / PIL | 95 % |\n|---|---|---|---|---|")
    for name, (theirs, mine) in cases.items():
        work = {"PIL": lambda run=theirs: timer.time(run), "ours": lambda run=mine: timer.time(run)}
        for run in work.values():
            run()
        seconds: dict[str, list[float]] = {key: [] for key in work}
        for _, samples in zip(range(options.rounds), rounds(work, seed=0), strict=False):
            for sample in samples:
                seconds[sample.workload].append(sample.seconds)
        each = {key: 1000 * median_interval(values).estimate / len(images) for key, values in seconds.items()}
        ratio = paired_ratio(seconds["ours"], seconds["PIL"])
        print(f"| {name} | {each['ours']:.2f} | {each['PIL']:.2f} | {ratio.estimate:.3f} | "
              f"{ratio.low:.3f} to {ratio.high:.3f} |")  # fmt: skip


def differences() -> None:
    """How far the device's bicubic rotation is from PIL's, in 8-bit levels: within 96 px of the centre, and beyond."""
    print("\n| angle, degrees | mean, of 255 | 99th percentile | largest | mean beyond 96 px from the centre |")
    print("|---|---|---|---|---|")
    turn = Rotation(preprocessing=MODEL, order="after")
    places = torch.arange(224) - 111.5
    for degrees in ANGLES:
        inner, outer = [], []
        for number in range(7):
            crop = MODEL.cropped(MODEL.resized(photo(number)))
            theirs = to_pixels(crop.rotate(degrees, resample=Image.Resampling.BICUBIC))
            mine = turn.make([Source(pixels=turn.prepare(photo(number)), index=number)], degrees)[0]
            apart = 255 * (mine - theirs).abs()
            radius = (places[:, None] ** 2 + places[None, :] ** 2).sqrt()
            inner.append(apart[:, radius < 96].flatten())
            outer.append(apart[:, radius >= 96].flatten())
        inside = torch.cat(inner)
        print(f"| {degrees} | {inside.mean():.2f} | {inside.quantile(0.99):.1f} | {inside.max():.0f} | "
              f"{torch.cat(outer).mean():.2f} |")  # fmt: skip


def shares(options: argparse.Namespace) -> None:
    """The models' share of the wall time, decoding included."""
    print("\n| model | kind | wall, s | in the model, % |\n|---|---|---|---|")
    inside = [0.0]
    passing = LoadedModel.logits

    def timed(self: LoadedModel, pixels: torch.Tensor) -> torch.Tensor:
        started = time.perf_counter()
        found = passing(self, pixels)
        if found.is_cuda:
            torch.cuda.synchronize()
        inside[0] += time.perf_counter() - started
        return found

    LoadedModel.logits = timed  # type: ignore[method-assign]
    for mixer in MIXERS:
        for kind in ("translation", "rotation"):
            name = f"unified_{mixer}_micro"
            request = ImageRequest(models=(name,), dataset="photos", num_images=options.images,
                                   batch_size=options.batch_size, device=options.device)  # fmt: skip
            config = InvarianceConfig(kind=kind, fill="reflect")  # type: ignore[arg-type]
            with tempfile.TemporaryDirectory() as folder:
                analysis = Invariance(config, request, Store(Path(folder)))
                analysis.loaded_model(name)  # building the model is not the data's affair
                inside[0], started = 0.0, time.perf_counter()
                analysis.run()
                wall = time.perf_counter() - started
            print(f"| {name} | {kind} | {wall:.1f} | {100 * inside[0] / wall:.1f} |", flush=True)


def main() -> None:
    """All three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--images", type=int, default=28)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, help="default: torch's choice")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.device == "cpu":
        keep_freed_memory()
    print(f"224 px, {options.device}, batches of {options.batch_size}, torch {torch.__version__}, "
          f"{torch.get_num_threads()} threads\n")  # fmt: skip
    levels(options)
    differences()
    shares(options)


if __name__ == "__main__":
    main()
