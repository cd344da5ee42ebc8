"""Finds files below a folder; skips and counts what operating systems, network drives and notebooks leave there."""

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
