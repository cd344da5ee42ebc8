"""Images in a folder, with their labels in a CSV file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from stmbench.data import splits, walking
from stmbench.data.decoding import SUFFIXES
from stmbench.data.files import FileSet
from stmbench.data.folders import split_folders
from stmbench.data.label_files import read_table, whole_label
from stmbench.data.walking import Passed
from stmbench.errors import InputError

WHAT = "a table of images and labels"


def open_table(path: Path, file: Path, split: str) -> FileSet:
    """Images anywhere below a folder, or below its folder for the split, with the labels of lines `image,label`.

    Images are named relative to either folder, with their suffix or without. Labels that are all numbers are the
    numbers of classes; others are names, ranked in alphabetical order. Images without a line are passed over; a line
    without an image is a corrupt image.

    Raises:
        InputError: a line that is none, two labels for an image, no line of an image. ConfigError: no such split.
    """
    labels, classes = _labels(file)
    passed: Passed = Counter()
    parts = split_folders(path, passed)
    found = splits.find(split, parts or ["test"], f"{path.name}, which has no folder for each split")
    root = path / found if parts else path
    there = list(walking.images_below(root, passed))
    known = {image: line for image in there if (line := _line(image, found if parts else "", labels)) is not None}
    if not known:
        got = f"{next(iter(labels))!r} and other names that are not in {root.name!r}"
        raise InputError(f"images of {root.name!r} in {file.name}", got, "write paths relative to the folder")
    passed[f"images without a line in {file.name}"] += len(there) - len(known)
    named = set(known.values())
    for part in parts:  # lines of another split are none of a missing image
        if part != found:
            others = walking.images_below(path / part, Counter())
            named |= {line for image in others if (line := _line(image, part, labels)) is not None}
    targets = [labels[line] for line in known.values()] + [labels[line] for line in labels if line not in named]
    return FileSet(
        name=path.name if parts or path.name not in splits.KNOWN else path.parent.name,
        split=found if parts else "all",
        root=root,
        paths=[*known, *(line for line in labels if line not in named)],
        targets=targets,
        classes=classes,
        remarks=walking.remark(path.name, passed),
    )


def _labels(file: Path) -> tuple[dict[str, int], tuple[str, ...] | None]:
    """(image -> label, names of the classes or None for numbers)."""
    lines: dict[str, tuple[int, str]] = {}
    for number, image, label in read_table(file, WHAT):
        first = lines.setdefault(image.removeprefix("./"), (number, label))
        if first[1] != label:
            got = f"{first[1]!r} and {label!r} for {image} in line {number} of {file.name}"
            raise InputError("one label for each image", got, "correct the table")
    texts = {label for _, label in lines.values()}
    if any(label.lstrip("+-").isdecimal() for label in texts) and all(_is_number(label) for label in texts):
        where = {image: f"line {number} of {file.name}" for image, (number, _) in lines.items()}
        return {image: whole_label(label, where[image]) for image, (_, label) in lines.items()}, None
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
    """The line that names an image of a split's folder `part`."""
    names = [image, *([f"{part}/{image}"] if part else [])]
    for name in [
        *names,
        *(str(PurePosixPath(name).with_suffix("")) for name in names if name.lower().endswith(SUFFIXES)),
    ]:
        if name in labels:
            return name
    return None
