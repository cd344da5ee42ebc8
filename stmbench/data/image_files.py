"""Image files: found below a folder, and decoded to 8-bit RGB.

What operating systems, network drives and notebooks leave in folders is skipped and counted. Decoding, by kind of file:

greyscale, 1-bit       repeated in all three channels
16-bit, 32-bit, float  scaled to 8 bits from their full range (PIL's own conversion would clip)
CMYK, YCCK             PIL's conversion, which handles Adobe's inverted files
palette, alpha         composited over white
animated, multi-page   the first frame

Orientation tags and colour profiles are ignored, as in torchvision and timm.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from stmbench.errors import ImageError, InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".pbm", ".bmp", ".gif", ".tif", ".tiff", ".webp")
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
WHITE = (255, 255, 255, 255)
# besides hidden files and folders; in lower case
SYNOLOGY, QNAP = ("@eadir", "#recycle", "#snapshot"), ("@recycle",)
WINDOWS, MAC, LINUX = ("$recycle.bin", "system volume information", "thumbs.db"), ("__macosx",), ("lost+found",)
JUNK = frozenset((*SYNOLOGY, *QNAP, *WINDOWS, *MAC, *LINUX))
HIDDEN, SPECIAL = "hidden images", "images that are no regular files"
OUTSIDE, EMPTY = "images outside of class folders", "folders without images"

Skipped = Counter[str]  # what was skipped -> how often


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is hidden or belongs to a system rather than to the user."""
    return name.startswith(".") or name.lower() in JUNK


def is_image(name: str) -> bool:
    """Whether a file is an image, judged by its suffix."""
    return name.lower().endswith(SUFFIXES)


def keep_member(path: str, skipped: Skipped) -> bool:
    """Whether a member of an archive is neither junk nor in a junk folder; junk is counted in `skipped`."""
    *folders, name = path.strip("/").split("/")
    junk = next((part for part in folders if part != "." and is_junk(part)), None)
    if junk is not None:
        skipped[junk] += 1
    elif is_junk(name):
        skipped[HIDDEN] += is_image(name)
    else:
        return True
    return False


def folders_in(folder: Path, skipped: Skipped) -> list[str]:
    """Sorted names of the folders in a folder, without junk."""
    folders = []
    for entry in _entries(folder):
        if _is_folder(entry):
            if is_junk(entry.name):
                skipped[entry.name] += 1
            else:
                folders.append(entry.name)
    return sorted(folders)


def flat_images(folder: Path, skipped: Skipped) -> list[str]:
    """Sorted names of the images directly in the folder."""
    return sorted(entry.name for entry in _entries(folder) if not _is_folder(entry) and _counts(entry, skipped))


def images_below(folder: Path, skipped: Skipped) -> Iterator[str]:
    """Paths of all images below a folder, relative to it, folder by folder in alphabetical order.

    Links to folders are followed, but each real folder is visited once and never a parent, so loops end.
    """
    visited = {_identity(above) for above in folder.parents}
    waiting = [""]
    while waiting:
        current = waiting.pop()
        identity = _identity(folder / current)
        if identity in visited:
            continue
        visited.add(identity)
        within, files = [], []
        for entry in _entries(folder / current):
            if not _is_folder(entry):
                if _counts(entry, skipped):
                    files.append(entry.name)
            elif is_junk(entry.name):
                skipped[entry.name] += 1
            else:
                within.append(entry.name)
        prefix = f"{current}/" if current else ""
        yield from (f"{prefix}{name}" for name in sorted(files))
        waiting += [f"{prefix}{name}" for name in sorted(within, reverse=True)]


def skipped_remark(name: str, skipped: Skipped) -> tuple[str, ...]:
    """What was skipped, as one sentence; empty if nothing was."""
    parts = [f"{count} {what}" for what, count in sorted((+skipped).items())]
    if not parts:
        return ()
    return (f"skipped in {name}: {', '.join(parts[:6])}{', ...' if len(parts) > 6 else ''}",)


def _counts(entry: os.DirEntry[str], skipped: Skipped) -> bool:
    """Whether an entry is an image to be used."""
    if not is_image(entry.name):
        return False
    if is_junk(entry.name):
        skipped[HIDDEN] += 1
        return False
    try:
        special = not stat.S_ISREG(entry.stat().st_mode)
    except OSError:  # a broken link, or one to itself, is a missing image
        return True
    skipped[SPECIAL] += special  # opening a pipe or a device might block forever
    return not special


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        got = f"{folder.name!r} ({error.strerror or error})"
        raise InputError("a folder that can be read", got, "correct its permissions, or leave it out") from error


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
