"""Tar files: WebDataset shards (key.jpg beside key.cls), or class folders inside a tar; read at random by offset."""

from __future__ import annotations

import functools
import glob
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from stmbench.data import splits
from stmbench.data.decoding import SUFFIXES, decode
from stmbench.data.image_set import ImageSet, Labels, digest
from stmbench.errors import ImageError, InputError

LABEL = "cls"
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


class Member(NamedTuple):
    """One image in a shard: where its bytes are, its path inside, the number in its .cls."""

    shard: int
    offset: int
    size: int
    path: str
    label: int | None


class ShardSet(ImageSet):
    """Images inside tar files. Labels are the .cls files' numbers, or else the folders' ranks within the tars."""

    def __init__(self, files: Sequence[Path], *, name: str, split: str) -> None:
        self.name, self.split, self.files = name, split, list(files)
        self.members = [member for number, file in enumerate(files) for member in _index(file, number)]
        if not self.members:
            raise InputError("images in the shards", f"none in {name}", "name tar files with .jpg, .png, ... in them")
        self.classes, self._labels = _labelled(self.members, name)

    def __len__(self) -> int:
        return len(self.members)

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        """See `ImageSet.read`."""
        member = self.members[index]
        try:
            with self.files[member.shard].open("rb") as file:
                file.seek(member.offset)
                content = file.read(member.size)
        except OSError as error:
            raise ImageError(f"{self.title(index)}: {error.strerror or error}") from error
        return decode(content, self.title(index)), None if self._labels is None else int(self._labels[index])

    def labels(self) -> Labels | None:
        """(len,) labels."""
        return self._labels

    def title(self, index: int) -> str:
        """The shard's name and the image's path inside."""
        member = self.members[index]
        return f"{self.files[member.shard].name}/{member.path}"

    def fingerprint(self) -> str:
        """Of the members' names, places, sizes and labels; contents are not read."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        return digest(item for member in self.members for item in member)


def matches(text: str) -> list[Path]:
    """Tar files that a path or a pattern means, `{000..009}` included; none for anything else."""
    if not text.endswith(".tar"):
        return []
    found = []
    for pattern in _expanded(str(Path(text).expanduser())):
        found += [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern))
    return [Path(path).resolve() for path in found]


def in_folder(path: Path, split: str) -> list[Path]:
    """The tar files of a folder, or of its folder for the split; those of the split alone where names tell splits."""
    for name in splits.candidates(split):
        inside = sorted((path / name).glob("*.tar"))
        if inside:
            return inside
    files = sorted(path.glob("*.tar"))
    told = {file: word for file in files for word in re.split(r"[^a-z]+", file.stem.lower()) if word in splits.KNOWN}
    if not told:
        return files
    found = splits.find(split, set(told.values()), path.name)
    return [file for file in files if told.get(file) == found]


def open_shards(files: Sequence[Path], split: str) -> ShardSet:
    """The images of these tar files, named for the folder that they are in, or for the only file.

    Raises:
        InputError: a file that is no plain tar, no images, or labels for some of the images only.
    """
    words = {word for file in files for word in re.split(r"[^a-z]+", file.stem.lower()) if word in splits.KNOWN}
    folder = files[0].parent
    if folder.name in splits.KNOWN:
        return ShardSet(files, name=folder.parent.name, split=folder.name)
    name = files[0].stem if len(files) == 1 else folder.name
    return ShardSet(files, name=name, split=words.pop() if len(words) == 1 else "all")


def _expanded(text: str) -> Iterator[str]:
    match = _BRACES.search(text)
    if match is None:
        yield text
        return
    first, last = match.groups()
    for number in range(int(first), int(last) + 1):
        yield from _expanded(f"{text[: match.start()]}{number:0{len(first)}d}{text[match.end() :]}")


def _index(file: Path, number: int) -> list[Member]:
    """The images of one tar; reads its headers and its .cls files."""
    images: dict[str, tuple[int, int, str]] = {}
    dotted: dict[str, tuple[int, int, str]] = {}  # a.b.png: a picture beside an image (a mask), or a file so named
    labels: dict[str, int] = {}
    try:
        with tarfile.open(file, "r:") as tar:
            for info in tar:
                folder, _, base = info.name.rpartition("/")
                key, _, suffix = base.partition(".")
                if not info.isfile() or not key:
                    continue
                key = f"{folder}/{key}"
                if suffix == LABEL:
                    labels[key] = _number(tar, info, file)
                elif f".{suffix.lower()}" in SUFFIXES:
                    images[key] = (info.offset_data, info.size, info.name)
                elif base.lower().endswith(SUFFIXES):
                    dotted[info.name] = (info.offset_data, info.size, info.name)
    except (tarfile.TarError, EOFError, OSError) as error:
        got = f"{file.name} ({' '.join(str(error).split())[:80]})"
        raise InputError("a plain tar file", got, "fetch it again, or unpack it where it is compressed") from error
    found = images if labels else {**images, **dotted}
    return [Member(number, *place, labels.get(key)) for key, place in found.items()]


def _number(tar: tarfile.TarFile, info: tarfile.TarInfo, file: Path) -> int:
    content = tar.extractfile(info)
    text = b"" if content is None else content.read(64).strip()
    try:
        return int(text)
    except ValueError as error:
        got = f"{text.decode(errors='replace')!r} in {info.name} of {file.name}"
        raise InputError("a whole number in a .cls file", got, "write the label's number") from error


def _labelled(members: Sequence[Member], name: str) -> tuple[tuple[str, ...] | None, Labels | None]:
    given = [member.label for member in members if member.label is not None]
    if len(given) == len(members):
        return tuple(str(number) for number in range(max(0, *given) + 1)), np.asarray(given, dtype=np.int64)
    if given:
        got = f"{len(members) - len(given)} of {len(members)} without"
        raise InputError(f"a .cls beside every image of {name}, or none", got, "complete the shards")
    folders = [member.path.rpartition("/")[0].rpartition("/")[2] for member in members]
    classes = sorted(set(folders))
    if len(classes) == 1:  # one folder, or none, tells nothing
        return None, None
    return tuple(classes), np.asarray([classes.index(folder) for folder in folders], dtype=np.int64)
