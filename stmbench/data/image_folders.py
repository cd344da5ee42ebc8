"""Image files in folders: one folder per class, ImageNet's lists, or flat folders without labels."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from stmbench.data import file_discovery
from stmbench.data.decoding import SUFFIXES, decode
from stmbench.data.file_discovery import Skipped
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
from stmbench.data.label_files import read_list
from stmbench.errors import InputError

META = "meta"


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
            path.parent / name for name in file_discovery.folders_in(path.parent, Counter()) if name in KNOWN_SPLITS
        ]
        return _read(path, path.parent.name, path.name, siblings, skipped)
    find_split(split, ["test"], f"{path.name}, which has no folder for each split")
    return _read(path, path.name, "all", [path], Counter())


def split_folders(path: Path, skipped: Skipped) -> list[str]:
    """The split folders within a folder; none if its folders are classes, whatever their names.

    If there are both a training and a held-out folder, they are splits, and all other folders are skipped.
    """
    folders = file_discovery.folders_in(path, skipped)
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
    """The images of `root`; a class is a folder that contains an image in any of the split folders `beside`."""
    by_folder = {
        folder: list(file_discovery.images_below(root / folder, skipped))
        for folder in file_discovery.folders_in(root, skipped)
    }
    flat = file_discovery.flat_images(root, skipped)
    known = {folder for folder, images in by_folder.items() if images}
    for other in split_folders:
        if other != root:
            known |= {folder for folder in file_discovery.folders_in(other, Counter()) if _holds_images(other / folder)}
    skipped[file_discovery.EMPTY] += sum(folder not in known for folder in by_folder)
    paths = [f"{folder}/{image}" for folder, images in by_folder.items() for image in images]
    if paths:
        skipped[file_discovery.OUTSIDE] += len(flat)
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
            remarks=file_discovery.skipped_remark(name, skipped),
        )
    if flat:
        remarks = file_discovery.skipped_remark(name, skipped)
        return FileSet(name=name, split=split, root=root, paths=flat, targets=None, classes=None, remarks=remarks)
    got = f"{root.name!r}, which {'has none' if any(root.iterdir()) else 'is empty'}"
    remedy = f"put images ({', '.join(SUFFIXES[:3])}, ...) into a folder for each class"
    raise InputError("a folder with images", got, remedy)


def _holds_images(folder: Path) -> bool:
    return next(file_discovery.images_below(folder, Counter()), None) is not None
