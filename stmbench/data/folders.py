"""Image files in folders: a folder for each class, ImageNet's lists, flat folders without labels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from stmbench.data import splits, walking
from stmbench.data.decoding import SUFFIXES
from stmbench.data.files import FileSet
from stmbench.data.label_files import read_list
from stmbench.data.walking import Passed
from stmbench.errors import InputError

META = "meta"


def open_folder(path: Path, split: str) -> FileSet:
    """Class folders (in a folder for each split, or not), or a flat folder of images without labels.

    Raises:
        InputError: no images. ConfigError: a split that is not there; without split folders all is 'test'.
    """
    passed: Passed = Counter()
    parts = split_folders(path, passed)
    if parts:
        found = splits.find(split, parts, path.name)
        return _read(path / found, path.name, found, [path / name for name in parts], passed)
    if path.name in splits.KNOWN and path.name in splits.candidates(split):
        beside = [path.parent / name for name in walking.folders_in(path.parent, Counter()) if name in splits.KNOWN]
        return _read(path, path.parent.name, path.name, beside, passed)
    splits.find(split, ["test"], f"{path.name}, which has no folder for each split")
    return _read(path, path.name, "all", [path], Counter())


def split_folders(path: Path, passed: Passed) -> list[str]:
    """The folders for splits within a folder; none where its folders are classes, whatever they are called.

    Where a training part stands beside a held-out one they are no classes, and other folders are passed over.
    """
    folders = walking.folders_in(path, passed)
    parts = [name for name in folders if name in splits.KNOWN]
    both = set(parts) & set(splits.TRAIN) and set(parts) & set(splits.HELD_OUT)
    if not both and len(parts) < len(folders):
        return []
    for name in sorted(set(folders) - set(parts)):
        passed[f"{name}/ beside {', '.join(f'{part}/' for part in parts)}"] += 1
    return parts


def lists_in(path: Path) -> dict[str, Path]:
    """split -> list, for the lists of a folder with meta/."""
    found = {file.stem: file for file in sorted((path / META).glob("*.txt")) if file.stem in splits.KNOWN}
    return {name: file for name, file in found.items() if (path / name).is_dir() and file.is_file()}


def pick_list(path: Path, lists: dict[str, Path], split: str) -> Path:
    """The list of a split. The widespread test.txt of ImageNet has label 0 throughout: val.txt goes before it."""
    told = {name: file for name, file in lists.items() if set(read_list(file)[1]) != {0}}
    held_out = split == "test" and set(told) & set(splits.HELD_OUT)
    return lists[splits.find(split, told if held_out else lists, path.name)]


def open_list(file: Path) -> FileSet:
    """Lines of `file label`, the files in the folder of the list's name, beside the list's own folder.

    Raises:
        InputError: a line that is none, no lines, or no such folder.
    """
    root = file.parent.parent if file.parent.name == META else file.parent
    paths, labels = read_list(file)
    folder = root / file.stem
    if not folder.is_dir():
        raise InputError(f"a folder {file.stem}/ for the images of {file.name}", "none", f"put it beside {META}/")
    if not paths:
        raise InputError("a list of images", f"{file.name}, which is empty", "write lines such as: name.JPEG 65")
    return FileSet(name=root.name, split=file.stem, root=folder, paths=paths, targets=labels, classes=None)


def _read(root: Path, name: str, split: str, beside: list[Path], passed: Passed) -> FileSet:
    """The images of `root`; classes are the folders with an image in any of the split folders `beside` each other."""
    found = {folder: list(walking.images_below(root / folder, passed)) for folder in walking.folders_in(root, passed)}
    flat = walking.flat_images(root, passed)
    known = {folder for folder, images in found.items() if images}
    for other in beside:
        if other != root:
            known |= {folder for folder in walking.folders_in(other, Counter()) if _holds_images(other / folder)}
    passed[walking.EMPTY] += sum(folder not in known for folder in found)
    paths = [f"{folder}/{image}" for folder, images in found.items() for image in images]
    if paths:
        passed[walking.OUTSIDE] += len(flat)
        classes = tuple(sorted(known))
        ranks = {folder: rank for rank, folder in enumerate(classes)}
        labels = [ranks[folder] for folder, images in found.items() for _ in images]
        return FileSet(
            name=name,
            split=split,
            root=root,
            paths=paths,
            targets=labels,
            classes=classes,
            remarks=walking.remark(name, passed),
        )
    if flat:
        remarks = walking.remark(name, passed)
        return FileSet(name=name, split=split, root=root, paths=flat, targets=None, classes=None, remarks=remarks)
    got = f"{root.name!r}, which {'has none' if any(root.iterdir()) else 'is empty'}"
    remedy = f"put images ({', '.join(SUFFIXES[:3])}, ...) into a folder for each class"
    raise InputError("a folder with images", got, remedy)


def _holds_images(folder: Path) -> bool:
    return next(walking.images_below(folder, Counter()), None) is not None
