"""How fast images become a model's input: JPEG files through timm's own data set and loader, and through ours.

    python benchmarks/decoding.py                    56 photographs at 500 pixels, to 224
    python benchmarks/decoding.py --workers 2 --rounds 20

Each round runs all of them on the same files, in a random order. torch's DataLoader with timm's transform is what most
scripts use; it has as many processes as ours has threads. The last line is a second model of the same run, which finds
the images decoded. Prints milliseconds an image with the 95 % interval of the median.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from timm.data import ImageDataset, create_transform
from torch.utils.data import DataLoader

from stmbench.data.embedded import photo
from stmbench.data.loading import PixelCache, batches
from stmbench.data.preprocessing import Preprocessing
from stmbench.data.sets import open_set
from stmbench.measure.bootstrap import median_interval
from stmbench.measure.clock import timer_for
from stmbench.measure.interleaving import rounds

SIDE, BATCH = 224, 16


def write(folder: Path, count: int) -> None:
    """Photographs as JPEG files of 500 pixels along the shorter side, in two class folders."""
    for number in range(count):
        image = photo(number)
        scale = 500 / min(image.size)
        place = folder / f"class{number % 2}" / f"{number:03}.jpg"
        place.parent.mkdir(exist_ok=True)
        size = (round(image.width * scale), round(image.height * scale))
        image.resize(size, Image.Resampling.BICUBIC).save(place, quality=90)


def paths(folder: str, workers: int) -> dict[str, Callable[[], float]]:
    """Name -> a pass over all images, which gives the sum of their pixels."""
    wanted, images = Preprocessing(size=(SIDE, SIDE)), open_set(folder)
    transform = create_transform(input_size=(3, SIDE, SIDE), interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1))
    theirs = ImageDataset(folder, transform=transform)

    def ours(threads: int, cache: PixelCache | None = None) -> float:
        found = batches(images, range(len(images)), wanted.pixels, batch_size=BATCH, workers=threads, cache=cache)
        return sum(float(batch.images.sum()) for batch in found)

    def loader(processes: int) -> float:
        return sum(float(pixels.sum()) for pixels, _ in DataLoader(theirs, BATCH, num_workers=processes))

    cache = PixelCache()
    ours(0, cache)
    return {
        "timm and DataLoader": lambda: loader(0),
        "ours": lambda: ours(0),
        f"timm and DataLoader, {workers} processes": lambda: loader(workers),
        f"ours, {workers} threads": lambda: ours(workers),
        "ours, a second model": lambda: ours(0, cache),
    }


def main() -> None:
    """Write the files, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=56)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), options.images)
        ways = paths(folder, options.workers)
        sums = {name: way() for name, way in ways.items()}
        assert max(sums.values()) - min(sums.values()) < 1e-4 * max(sums.values()), sums
        timer = timer_for("cpu")
        subjects = {name: lambda way=way: timer.time(way) for name, way in ways.items()}
        found: dict[str, list[float]] = {name: [] for name in ways}
        for samples, _ in zip(rounds(subjects, seed=0), range(options.rounds), strict=False):
            for sample in samples:
                found[sample.workload].append(sample.seconds)
    for name, seconds in found.items():
        each = median_interval(seconds).scaled(1e3 / options.images)
        spread = f"{each.low:.2f} to {each.high:.2f}"
        print(f"{name:36} {each.estimate:6.2f} ms  {spread}   {1e3 / each.estimate:7.0f} images/s")


if __name__ == "__main__":
    main()
