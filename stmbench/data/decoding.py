"""Image files to 8-bit RGB, whatever kind they are.

greyscale, 1-bit       repeated in all three channels
16-bit, 32-bit, float  scaled to 8 bits from their full range, where PIL's own conversion would clip
CMYK, YCCK             PIL's conversion, which knows of Adobe's inverted files
palette, alpha         put over white
animated, several pages the first frame

Orientation tags and colour profiles are ignored, as torchvision and timm do it.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from stmbench.errors import ImageError

WHITE = (255, 255, 255, 255)
DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".pbm", ".bmp", ".gif", ".tif", ".tiff", ".webp")


def decode(source: Path | bytes, title: str) -> Image.Image:
    """A file, or its content, as an RGB image in memory. Raises ImageError, with `title`, for what cannot be read."""
    if isinstance(source, Path) and source.exists() and not source.is_file():
        raise ImageError(f"{title}: not a regular file")  # to open a pipe or a device might wait for ever
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL remarks on odd tags, which is no matter of ours
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                image.load()
                return to_rgb(image)
    except MemoryError:
        raise
    except Exception as error:  # PIL's readers stop at damaged bytes with any exception
        reason = f"{error.strerror}" if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
        if "cannot identify image file" in reason:
            reason = "not an image that can be read"  # the message would name an object in memory
        raise ImageError(f"{title}: {reason[:200] or type(error).__name__}") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """The image (its first frame) in 8-bit RGB. Raises ImageError for float values outside of [0, 255]."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image if type(image) is Image.Image else image.copy()  # a copy lets go of the file
    if image.mode in DEEP:
        return Image.fromarray(_eight_bits(image)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        picture = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, WHITE), picture).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> np.ndarray:
    """(H, W) uint8 of a deep greyscale image; a picture never says how many of its bits are used, so full range."""
    values = np.asarray(image).astype(np.float64)
    if image.mode == "F":
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 255):  # NaN too
            raise ImageError(f"float values from {low:g} to {high:g}, neither in [0, 1] nor in [0, 255]")
        full = 1.0 if high <= 1 else 255.0
    else:
        full = 65535.0 if values.max() <= 65535 else 2.0**31 - 1
    return np.rint(values.clip(0, full) * (255 / full)).astype(np.uint8)
