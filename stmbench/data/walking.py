"""Files below a folder: what operating systems, network drives and notebooks leave there is passed over and counted."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from stmbench.data.decoding import SUFFIXES
from stmbench.errors import InputError

# besides hidden files and folders; in lower case
SYNOLOGY, QNAP = ("@eadir", "#recycle", "#snapshot"), ("@recycle",)
WINDOWS, MAC, LINUX = ("$recycle.bin", "system volume information", "thumbs.db"), ("__macosx",), ("lost+found",)
JUNK = frozenset((*SYNOLOGY, *QNAP, *WINDOWS, *MAC, *LINUX))
HIDDEN, SPECIAL = "hidden images", "images that are no regular files"
OUTSIDE, EMPTY = "images outside of class folders", "folders without images"

Passed = Counter[str]  # what was passed over -> how often


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is none of the user's own: hidden, or a system's."""
    return name.startswith(".") or name.lower() in JUNK


def is_image(name: str) -> bool:
    """Whether a file is an image, by its suffix."""
    return name.lower().endswith(SUFFIXES)


def in_archive(path: str, passed: Passed) -> bool:
    """Whether a member of an archive is in no junk folder and not junk itself; junk is counted."""
    *folders, name = path.strip("/").split("/")
    junk = next((part for part in folders if part != "." and is_junk(part)), None)
    if junk is not None:
        passed[junk] += 1
    elif is_junk(name):
        passed[HIDDEN] += is_image(name)
    else:
        return True
    return False


def folders_in(folder: Path, passed: Passed) -> list[str]:
    """Names of the folders in a folder, sorted, junk left out."""
    found = []
    for entry in _entries(folder):
        if _is_folder(entry):
            if is_junk(entry.name):
                passed[entry.name] += 1
            else:
                found.append(entry.name)
    return sorted(found)


def flat_images(folder: Path, passed: Passed) -> list[str]:
    """Names of the images in the folder itself, sorted."""
    return sorted(entry.name for entry in _entries(folder) if not _is_folder(entry) and _counts(entry, passed))


def images_below(folder: Path, passed: Passed) -> Iterator[str]:
    """Paths of all images below a folder, relative to it, folder by folder in the order of their names.

    Links to folders are followed, each real folder once, and none that leads back to a folder above: loops end.
    """
    seen = {_identity(above) for above in folder.parents}
    waiting = [""]
    while waiting:
        place = waiting.pop()
        identity = _identity(folder / place)
        if identity in seen:
            continue
        seen.add(identity)
        within, files = [], []
        for entry in _entries(folder / place):
            if not _is_folder(entry):
                if _counts(entry, passed):
                    files.append(entry.name)
            elif is_junk(entry.name):
                passed[entry.name] += 1
            else:
                within.append(entry.name)
        prefix = f"{place}/" if place else ""
        yield from (f"{prefix}{name}" for name in sorted(files))
        waiting += [f"{prefix}{name}" for name in sorted(within, reverse=True)]


def remark(name: str, passed: Passed) -> tuple[str, ...]:
    """What was passed over, as one sentence; none where there was nothing."""
    parts = [f"{count} {what}" for what, count in sorted((+passed).items())]
    if not parts:
        return ()
    return (f"passed over in {name}: {', '.join(parts[:6])}{', ...' if len(parts) > 6 else ''}",)


def _counts(entry: os.DirEntry[str], passed: Passed) -> bool:
    """Whether it is an image to be used."""
    if not is_image(entry.name):
        return False
    if is_junk(entry.name):
        passed[HIDDEN] += 1
        return False
    try:
        special = not stat.S_ISREG(entry.stat().st_mode)
    except OSError:  # a link to nothing, or to itself, is an image that is missing
        return True
    passed[SPECIAL] += special  # a pipe or a device: to open it might wait for ever
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
        with os.scandir(folder) as found:
            return list(found)
    except OSError as error:
        got = f"{folder.name!r} ({error.strerror or error})"
        raise InputError("a folder that can be read", got, "correct its permissions, or leave it out") from error
