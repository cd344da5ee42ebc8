"""Tar files: WebDataset shards (key.jpg beside key.cls), or class folders inside a tar; read at random by offset."""

from __future__ import annotations

import functools
import glob
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from stmbench.data import splits
from stmbench.data.decoding import decode
from stmbench.data.image_set import ImageSet, Labels, digest
from stmbench.data.tar_index import Member, index
from stmbench.data.walking import Passed, is_junk, remark
from stmbench.errors import ImageError, InputError

MOST = 100_000  # shards of one pattern
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


class ShardSet(ImageSet):
    """Images inside tar files. Labels are the .cls files' numbers, or else the folders' ranks within the tars."""

    def __init__(self, files: Sequence[Path], *, name: str, split: str) -> None:
        self.name, self.split, self.files = name, split, list(files)
        passed: Passed = Counter()
        shards = [index(file, number, passed) for number, file in enumerate(files)]
        self.members = [member for shard in shards for member in shard.members]
        self.damaged = tuple(damage for shard in shards for damage in shard.damaged)
        self.remarks = remark(name, passed)
        if not self.members:
            got = f"none in {name}" + (f" ({self.damaged[0]})" if self.damaged else "")
            raise InputError("images in the shards", got, "name tar files with .jpg, .png, ... in them")
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
        if len(content) < member.size:
            raise ImageError(f"{self.title(index)}: cut off after {len(content)} of {member.size} bytes")
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
    count = math.prod(_count(match) for match in _BRACES.finditer(text))
    if count > MOST:
        raise InputError(f"a pattern of at most {MOST:,} shards", f"{count:.3g} of them", "correct the range in braces")
    found = []
    for pattern in _expanded(str(Path(text).expanduser())):
        found += [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern))
    return [Path(path).resolve() for path in found if Path(path).is_file()]


def in_folder(path: Path, split: str) -> list[Path]:
    """The tar files of a folder, or of its folder for the split; those of the split alone where names tell splits."""
    for name in splits.candidates(split):
        inside = _tars(path / name)
        if inside:
            return inside
    files = _tars(path)
    told = {file: word for file in files for word in re.split(r"[^a-z]+", file.stem.lower()) if word in splits.KNOWN}
    if not told:
        return files
    found = splits.find(split, set(told.values()), path.name)
    return [file for file in files if told.get(file) == found]


def _tars(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.tar") if file.is_file() and not is_junk(file.name))


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


def _count(match: re.Match[str]) -> float:
    first, last = match.groups()
    return max(0, int(last) - int(first) + 1) if max(len(first), len(last)) <= 15 else math.inf


def _expanded(text: str) -> Iterator[str]:
    match = _BRACES.search(text)
    if match is None:
        yield text
        return
    first, last = match.groups()
    for number in range(int(first), int(last) + 1):
        yield from _expanded(f"{text[: match.start()]}{number:0{len(first)}d}{text[match.end() :]}")


def _labelled(members: Sequence[Member], name: str) -> tuple[tuple[str, ...] | None, Labels | None]:
    given = [member.label for member in members if member.label is not None]
    if len(given) == len(members):
        return None, np.asarray(given, dtype=np.int64)
    if given:
        got = f"{len(members) - len(given)} of {len(members)} without"
        raise InputError(f"a .cls beside every image of {name}, or none", got, "complete the shards")
    folders = [member.path.rpartition("/")[0].rpartition("/")[2] for member in members]
    ranks = {folder: rank for rank, folder in enumerate(sorted(set(folders)))}
    if len(ranks) == 1:  # one folder, or none, tells nothing
        return None, None
    return tuple(ranks), np.asarray([ranks[folder] for folder in folders], dtype=np.int64)
