"""Image files in folders: class folders as torchvision's ImageFolder reads them, ImageNet's lists, flat folders."""

from __future__ import annotations

from pathlib import Path

from torchvision.datasets.folder import find_classes, make_dataset

from stmbench.data import splits
from stmbench.data.decoding import SUFFIXES
from stmbench.data.files import FileSet
from stmbench.errors import InputError

META = "meta"


def open_folder(path: Path, split: str) -> FileSet:
    """Class folders (in a folder for each split, or not), or a flat folder of images without labels.

    Raises:
        InputError: no images. ConfigError: a split that is not there; without split folders all is 'test'.
    """
    folders = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if folders and all(name in splits.KNOWN for name in folders):
        found = splits.find(split, folders, path.name)
        return _read(path / found, path.name, found)
    if path.name in splits.KNOWN and path.name in splits.candidates(split):
        return _read(path, path.parent.name, path.name)
    splits.find(split, ["test"], f"{path.name}, which has no folder for each split")
    return _read(path, path.name, "all")


def lists_in(path: Path) -> dict[str, Path]:
    """split -> list, for the lists of a folder with meta/."""
    found = {file.stem: file for file in sorted((path / META).glob("*.txt")) if file.stem in splits.KNOWN}
    return {name: file for name, file in found.items() if (path / name).is_dir()}


def pick_list(path: Path, lists: dict[str, Path], split: str) -> Path:
    """The list of a split. The widespread test.txt of ImageNet has label 0 throughout: val.txt goes before it."""
    told = {name: file for name, file in lists.items() if set(_entries(file)[1]) != {0}}
    held_out = split == "test" and set(told) & set(splits.HELD_OUT)
    return lists[splits.find(split, told if held_out else lists, path.name)]


def open_list(file: Path) -> FileSet:
    """Lines of `file label`, the files in the folder of the list's name, beside the list's own folder.

    Raises:
        InputError: a line that is none, no lines, or no such folder.
    """
    root = file.parent.parent if file.parent.name == META else file.parent
    paths, labels = _entries(file)
    folder = root / file.stem
    if not folder.is_dir():
        raise InputError(f"a folder {file.stem}/ for the images of {file.name}", "none", f"put it beside {META}/")
    if not paths:
        raise InputError("a list of images", f"{file.name}, which is empty", "write lines such as: name.JPEG 65")
    classes = tuple(str(number) for number in range(max(0, *labels) + 1))
    return FileSet(name=root.name, split=file.stem, root=folder, paths=paths, targets=labels, classes=classes)


def _entries(file: Path) -> tuple[list[str], list[int]]:
    paths, labels = [], []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        path, _, label = line.strip().rpartition(" ")
        if not path or not label.lstrip("-").isdigit():
            got = f"{line.strip()[:80]!r} in line {number}"
            raise InputError(f"a file and a label in every line of {file.name}", got, "write: name.JPEG 65")
        paths.append(path.strip())
        labels.append(int(label))
    return paths, labels


def _read(root: Path, name: str, split: str) -> FileSet:
    flat = sorted(entry.name for entry in root.iterdir() if _is_image(entry.name) and entry.is_file())
    try:
        classes, numbers = find_classes(root)
    except FileNotFoundError:
        classes, numbers = [], {}
    found = make_dataset(str(root), numbers, is_valid_file=_is_image, allow_empty=True) if classes else []
    if found:
        paths = [Path(path).relative_to(root).as_posix() for path, _ in found]
        labels = [label for _, label in found]
        return FileSet(name=name, split=split, root=root, paths=paths, targets=labels, classes=tuple(classes))
    if flat:
        return FileSet(name=name, split=split, root=root, paths=flat, targets=None, classes=None)
    got = f"{root.name!r}, which {'has none' if any(root.iterdir()) else 'is empty'}"
    remedy = f"put images ({', '.join(SUFFIXES[:3])}, ...) into a folder for each class"
    raise InputError("a folder with images", got, remedy)


def _is_image(path: str) -> bool:
    return path.lower().endswith(SUFFIXES) and not Path(path).name.startswith(".")
