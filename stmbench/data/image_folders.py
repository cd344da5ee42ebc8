"""Image files in folders: a folder per class, ImageNet's lists, labels in a CSV file, or none at all."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from stmbench.data import image_files
from stmbench.data.image_files import SUFFIXES, Skipped, decode
from stmbench.data.image_set import (
    HELD_OUT_SPLITS,
    KNOWN_SPLITS,
    TRAIN_SPLITS,
    ImageSet,
    Labels,
    digest,
    find_split,
    split_candidates,
)
from stmbench.data.label_files import parse_label, read_list, read_table
from stmbench.errors import InputError

META = "meta"
TABLE = "a table of images and labels"


class FileSet(ImageSet):
    """Image files below one folder.

    Args:
        name: the name of the set.
        split: the name of the split.
        root: the folder.
        paths: the files, relative to the folder.
        targets: a label for each file, or None.
        classes: the names of the labels; None if labels are class numbers of a model, or if there are none.
        remarks: what was skipped when the files were listed.
    """

    def __init__(
        self,
        *,
        name: str,
        split: str,
        root: Path,
        paths: Sequence[str],
        targets: Sequence[int] | None,
        classes: tuple[str, ...] | None,
        remarks: tuple[str, ...] = (),
    ) -> None:
        self.name, self.split, self.root, self.paths, self.classes = name, split, root, paths, classes
        self.remarks = remarks
        self._labels = None if targets is None else np.asarray(targets, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        """See `ImageSet.read`."""
        label = None if self._labels is None else int(self._labels[index])
        return decode(self.root / self.paths[index], self.title(index)), label

    def labels(self) -> Labels | None:
        """(len,) labels."""
        return self._labels

    def title(self, index: int) -> str:
        """The file's path within the set."""
        return self.paths[index]

    def fingerprint(self) -> str:
        """Hash of names, sizes in bytes, and labels; contents are not read."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        labels = [""] * len(self) if self._labels is None else self._labels.tolist()
        sizes = (_size(self.root / path) for path in self.paths)
        return digest(item for facts in zip(self.paths, sizes, labels, strict=True) for item in facts)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def open_folder(path: Path, split: str) -> FileSet:
    """Class folders (within a folder per split, or directly), or a flat folder of images without labels.

    Raises:
        InputError: no images. ConfigError: the split does not exist; without split folders everything is 'test'.
    """
    skipped: Skipped = Counter()
    splits = split_folders(path, skipped)
    if splits:
        split_name = find_split(split, splits, path.name)
        return _read(path / split_name, path.name, split_name, [path / name for name in splits], skipped)
    if path.name in KNOWN_SPLITS and path.name in split_candidates(split):
        siblings = [
            path.parent / name for name in image_files.folders_in(path.parent, Counter()) if name in KNOWN_SPLITS
        ]
        return _read(path, path.parent.name, path.name, siblings, skipped)
    find_split(split, ["test"], f"{path.name}, which has no folder for each split")
    return _read(path, path.name, "all", [path], Counter())


def split_folders(path: Path, skipped: Skipped) -> list[str]:
    """The split folders within a folder; none if its folders are classes, whatever their names.

    If there are both a training and a held-out folder, they are splits, and all other folders are skipped.
    """
    folders = image_files.folders_in(path, skipped)
    splits = [name for name in folders if name in KNOWN_SPLITS]
    both = set(splits) & set(TRAIN_SPLITS) and set(splits) & set(HELD_OUT_SPLITS)
    if not both and len(splits) < len(folders):
        return []
    for name in sorted(set(folders) - set(splits)):
        skipped[f"{name}/ beside {', '.join(f'{split}/' for split in splits)}"] += 1
    return splits


def lists_in(path: Path) -> dict[str, Path]:
    """split -> list file, for a folder with meta/."""
    lists = {file.stem: file for file in sorted((path / META).glob("*.txt")) if file.stem in KNOWN_SPLITS}
    return {name: file for name, file in lists.items() if (path / name).is_dir() and file.is_file()}


def pick_list(path: Path, lists: dict[str, Path], split: str) -> Path:
    """The list of a split. ImageNet's usual test.txt has only the label 0, so val.txt takes precedence over it."""
    labelled = {name: file for name, file in lists.items() if set(read_list(file)[1]) != {0}}
    held_out = split == "test" and set(labelled) & set(HELD_OUT_SPLITS)
    return lists[find_split(split, labelled if held_out else lists, path.name)]


def open_list(file: Path) -> FileSet:
    """Images by a list of lines `file label`; the files are in the folder that is named like the list.

    Raises:
        InputError: an invalid line, an empty list, or no such folder.
    """
    root = file.parent.parent if file.parent.name == META else file.parent
    paths, labels = read_list(file)
    folder = root / file.stem
    if not folder.is_dir():
        raise InputError(f"a folder {file.stem}/ for the images of {file.name}", "none", f"put it next to {META}/")
    if not paths:
        raise InputError("a list of images", f"{file.name}, which is empty", "write lines such as: name.JPEG 65")
    return FileSet(name=root.name, split=file.stem, root=folder, paths=paths, targets=labels, classes=None)


def _read(root: Path, name: str, split: str, split_folders: list[Path], skipped: Skipped) -> FileSet:
    """The images of `root`; a class is a folder that contains an image in any of the `split_folders`."""
    by_folder = {
        folder: list(image_files.images_below(root / folder, skipped))
        for folder in image_files.folders_in(root, skipped)
    }
    flat = image_files.flat_images(root, skipped)
    known = {folder for folder, images in by_folder.items() if images}
    for other in split_folders:
        if other != root:
            known |= {folder for folder in image_files.folders_in(other, Counter()) if _holds_images(other / folder)}
    skipped[image_files.EMPTY] += sum(folder not in known for folder in by_folder)
    paths = [f"{folder}/{image}" for folder, images in by_folder.items() for image in images]
    if paths:
        skipped[image_files.OUTSIDE] += len(flat)
        classes = tuple(sorted(known))
        ranks = {folder: rank for rank, folder in enumerate(classes)}
        labels = [ranks[folder] for folder, images in by_folder.items() for _ in images]
        return FileSet(
            name=name,
            split=split,
            root=root,
            paths=paths,
            targets=labels,
            classes=classes,
            remarks=image_files.skipped_remark(name, skipped),
        )
    if flat:
        remarks = image_files.skipped_remark(name, skipped)
        return FileSet(name=name, split=split, root=root, paths=flat, targets=None, classes=None, remarks=remarks)
    got = f"{root.name!r}, which {'has none' if any(root.iterdir()) else 'is empty'}"
    remedy = f"put images ({', '.join(SUFFIXES[:3])}, ...) into a folder for each class"
    raise InputError("a folder with images", got, remedy)


def has_class_folders(path: Path) -> bool:
    """Whether a folder within this one holds images."""
    return any(_holds_images(path / name) for name in image_files.folders_in(path, Counter()))


def _holds_images(folder: Path) -> bool:
    return next(image_files.images_below(folder, Counter()), None) is not None


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
    images = list(image_files.images_below(root, skipped))
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
            others = image_files.images_below(path / name, Counter())
            named |= {line for image in others if (line := _line(image, name, labels)) is not None}
    targets = [labels[line] for line in known.values()] + [labels[line] for line in labels if line not in named]
    return FileSet(
        name=path.name if splits or path.name not in KNOWN_SPLITS else path.parent.name,
        split=split_name if splits else "all",
        root=root,
        paths=[*known, *(line for line in labels if line not in named)],
        targets=targets,
        classes=classes,
        remarks=image_files.skipped_remark(path.name, skipped),
    )


def _labels(file: Path) -> tuple[dict[str, int], tuple[str, ...] | None]:
    """image -> label, and the names of the classes, or None for numbers."""
    lines: dict[str, tuple[int, str]] = {}
    for number, image, label in read_table(file, TABLE):
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
