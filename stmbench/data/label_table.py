"""Images in a folder whose labels are in a CSV file (`--labels`)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from stmbench.data import file_discovery
from stmbench.data.decoding import SUFFIXES
from stmbench.data.file_discovery import Skipped
from stmbench.data.image_folders import FileSet, split_folders
from stmbench.data.image_set import KNOWN_SPLITS, find_split
from stmbench.data.label_files import parse_label, read_table
from stmbench.errors import InputError

WHAT = "a table of images and labels"


def open_table(path: Path, file: Path, split: str) -> FileSet:
    """Images anywhere below a folder, or below its split folder, with labels from lines `image,label`.

    Images are named relative to either folder, with or without suffix. If all labels are numbers they are class
    numbers; otherwise they are names, numbered in alphabetical order. Images without a line are skipped; a line without
    an image counts as a corrupt image.

    Raises:
        InputError: an invalid line, two labels for an image, or no line for any image. ConfigError: no such split.
    """
    labels, classes = _labels(file)
    skipped: Skipped = Counter()
    splits = split_folders(path, skipped)
    split_name = find_split(split, splits or ["test"], f"{path.name}, which has no folder for each split")
    root = path / split_name if splits else path
    images = list(file_discovery.images_below(root, skipped))
    known = {
        image: line for image in images if (line := _line(image, split_name if splits else "", labels)) is not None
    }
    if not known:
        got = f"{next(iter(labels))!r} and other names that are not in {root.name!r}"
        raise InputError(f"images of {root.name!r} in {file.name}", got, "write paths relative to the folder")
    skipped[f"images without a line in {file.name}"] += len(images) - len(known)
    named = set(known.values())
    for name in splits:  # lines for images of another split do not count as missing images
        if name != split_name:
            others = file_discovery.images_below(path / name, Counter())
            named |= {line for image in others if (line := _line(image, name, labels)) is not None}
    targets = [labels[line] for line in known.values()] + [labels[line] for line in labels if line not in named]
    return FileSet(
        name=path.name if splits or path.name not in KNOWN_SPLITS else path.parent.name,
        split=split_name if splits else "all",
        root=root,
        paths=[*known, *(line for line in labels if line not in named)],
        targets=targets,
        classes=classes,
        remarks=file_discovery.skipped_remark(path.name, skipped),
    )


def _labels(file: Path) -> tuple[dict[str, int], tuple[str, ...] | None]:
    """image -> label, and the names of the classes, or None for numbers."""
    lines: dict[str, tuple[int, str]] = {}
    for number, image, label in read_table(file, WHAT):
        first = lines.setdefault(image.removeprefix("./"), (number, label))
        if first[1] != label:
            got = f"{first[1]!r} and {label!r} for {image} in line {number} of {file.name}"
            raise InputError("one label for each image", got, "correct the table")
    texts = {label for _, label in lines.values()}
    if any(label.lstrip("+-").isdecimal() for label in texts) and all(_is_number(label) for label in texts):
        where = {image: f"line {number} of {file.name}" for image, (number, _) in lines.items()}
        return {image: parse_label(label, where[image]) for image, (_, label) in lines.items()}, None
    classes = tuple(sorted(texts))
    ranks = {label: rank for rank, label in enumerate(classes)}
    return {image: ranks[label] for image, (_, label) in lines.items()}, classes


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def _line(image: str, part: str, labels: dict[str, int]) -> str | None:
    """The line for an image in the split folder `part`; None if there is none."""
    names = [image, *([f"{part}/{image}"] if part else [])]
    for name in [
        *names,
        *(str(PurePosixPath(name).with_suffix("")) for name in names if name.lower().endswith(SUFFIXES)),
    ]:
        if name in labels:
            return name
    return None
