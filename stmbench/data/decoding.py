"""Decodes image files of any kind to 8-bit RGB.

greyscale, 1-bit       repeated in all three channels
16-bit, 32-bit, float  scaled to 8 bits from their full range (PIL's own conversion would clip)
CMYK, YCCK             PIL's conversion, which handles Adobe's inverted files
palette, alpha         composited over white
animated, multi-page   the first frame

Orientation tags and colour profiles are ignored, as in torchvision and timm.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from stmbench.errors import ImageError

WHITE = (255, 255, 255, 255)
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".pbm", ".bmp", ".gif", ".tif", ".tiff", ".webp")


def decode(source: Path | bytes, title: str) -> Image.Image:
    """A file, or its content, as an RGB image in memory. Raises ImageError, naming `title`, if it cannot be read."""
    if isinstance(source, Path) and source.exists() and not source.is_file():
        raise ImageError(f"{title}: not a regular file")  # opening a pipe or a device might block forever
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL warns about unusual tags, which are irrelevant here
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                image.load()
                return to_rgb(image)
    except MemoryError:
        raise
    except Exception as error:  # PIL's readers may raise anything on damaged bytes
        reason = f"{error.strerror}" if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
        if "cannot identify image file" in reason:
            reason = "not an image that can be read"  # PIL's message contains the address of an object
        raise ImageError(f"{title}: {reason[:200] or type(error).__name__}") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """The (first frame of the) image in 8-bit RGB. Raises ImageError for float values outside of [0, 255]."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image if type(image) is Image.Image else image.copy()  # a copy releases the file
    if image.mode in DEEP_MODES:
        return Image.fromarray(_eight_bits(image)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        picture = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, WHITE), picture).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> np.ndarray:
    """(H, W) uint8 of a deep greyscale image, from its full range since files do not say how many bits are used."""
    values = np.asarray(image).astype(np.float64)
    if image.mode == "F":
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 255):  # NaN too
            raise ImageError(f"float values from {low:g} to {high:g}, neither in [0, 1] nor in [0, 255]")
        full = 1.0 if high <= 1 else 255.0
    else:
        full = 65535.0 if values.max() <= 65535 else 2.0**31 - 1
    return np.rint(values.clip(0, full) * (255 / full)).astype(np.uint8)
