"""How fast images become a model's input: JPEG files through timm's own data set and loader, and through ours.

    python benchmarks/decoding.py                    56 photographs at 500 pixels, to 224
    python benchmarks/decoding.py --workers 2 --rounds 20
    python benchmarks/decoding.py --decoders         PIL, torchvision, and simplejpeg if it is there

Each round runs all of them on the same files, in a random order. torch's DataLoader with timm's transform is what most
scripts use; it has as many processes as ours has threads. The last line is a second model of the same run, which finds
the images decoded. Prints milliseconds an image with the 95 % interval of the median.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import ImageDataset, create_transform
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import center_crop, resize, to_pil_image

from stmbench.data.embedded import photo
from stmbench.data.image_files import decode
from stmbench.data.loading import PixelCache, batches
from stmbench.data.preprocessing import Preprocessing
from stmbench.data.sets import open_set
from stmbench.measure.bootstrap import median_interval, paired_ratio
from stmbench.measure.interleaving import rounds

SIDE, BATCH = 224, 16
EDGE = 256  # of the resized image, whose centre is the crop


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


def decoders(folder: str) -> dict[str, Callable[[], float]]:
    """Name -> a pass over all files by a decoder, alone or with resize and crop; the sum of the pixels."""
    contents = [path.read_bytes() for path in sorted(Path(folder).rglob("*.jpg"))]
    wanted = Preprocessing(size=(SIDE, SIDE))

    def by_pillow(content: bytes) -> Image.Image:
        return decode(content, "a photograph")

    def by_torchvision(content: bytes) -> Tensor:
        return decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)

    def resized_by_torchvision(content: bytes) -> Tensor:
        resized = resize(by_torchvision(content), [EDGE], InterpolationMode.BICUBIC, antialias=True)
        return center_crop(resized, [SIDE, SIDE])

    ways: dict[str, Callable[[bytes], Any]] = {
        "PIL": by_pillow,
        "torchvision": by_torchvision,
        "PIL, resize by PIL": lambda content: wanted.levels(by_pillow(content)),
        "torchvision, resize by PIL": lambda content: wanted.levels(to_pil_image(by_torchvision(content))),
        "torchvision, resize by torchvision": resized_by_torchvision,
    }
    if importlib.util.find_spec("simplejpeg"):
        import simplejpeg

        ways["simplejpeg"] = simplejpeg.decode_jpeg
        ways["simplejpeg, resize by PIL"] = lambda content: wanted.levels(
            Image.fromarray(simplejpeg.decode_jpeg(content))
        )
    return {name: lambda way=way: sum(float(np.asarray(way(c)).mean()) for c in contents) for name, way in ways.items()}


def main() -> None:
    """Write the files, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=56)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--decoders", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), options.images)
        ways = decoders(folder) if options.decoders else paths(folder, options.workers)
        sums = {name: way() for name, way in ways.items()}
        assert options.decoders or max(sums.values()) - min(sums.values()) < 1e-4 * max(sums.values()), sums
        # one thread: the processor's time, which a busy machine does not stretch
        clock = time.process_time if options.decoders else time.monotonic

        def timed(way: Callable[[], float]) -> float:
            began = clock()
            way()
            return clock() - began

        subjects = {name: functools.partial(timed, way) for name, way in ways.items()}
        found: dict[str, list[float]] = {name: [] for name in ways}
        for samples, _ in zip(rounds(subjects, seed=0), range(options.rounds), strict=False):
            for sample in samples:
                found[sample.workload].append(sample.seconds)
    first = next(iter(found.values()))
    for name, seconds in found.items():
        ratio = paired_ratio(seconds, first)
        each = median_interval(seconds).scaled(1e3 / options.images)
        spread = f"{each.low:.2f} to {each.high:.2f}"
        print(f"{name:36} {each.estimate:6.2f} ms  {spread}   {1e3 / each.estimate:7.0f} images/s   "
              f"{ratio.estimate:.2f} times the first ({ratio.low:.2f} to {ratio.high:.2f})")  # fmt: skip


if __name__ == "__main__":
    main()
