"""Tar files: WebDataset shards (key.jpg and key.cls), or class folders inside a tar; random access by offset.

The headers are indexed once, and what a truncated or damaged file has lost is reported by name. The index of a large
file is kept in the user's cache folder ($XDG_CACHE_HOME/stmbench, ~/.cache/stmbench): reading two headers for each
image takes seconds for every 100,000 of them.
"""

from __future__ import annotations

import contextlib
import functools
import json
import tarfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from stmbench.bundled import cache_folder
from stmbench.data.image_files import SUFFIXES, Skipped, decode, keep_member, skipped_remark
from stmbench.data.image_set import ImageSet, Labels, digest
from stmbench.data.label_files import parse_label
from stmbench.data.shard_files import name_and_split
from stmbench.errors import ImageError, InputError
from stmbench.tables.files import replacing

LABEL = "cls"
BLOCK = tarfile.BLOCKSIZE
KEEP_FROM = 1_000  # images in a file whose index is kept
INDEX = 1  # version of a kept index

Extent = tuple[int, int, str]  # of a member's bytes: offset, size, path


class Member(NamedTuple):
    """One image in a shard: the location of its bytes, its path, and the label in its .cls file."""

    shard: int
    offset: int
    size: int
    path: str
    label: int | None


class Shard(NamedTuple):
    """The images of one tar file, and descriptions of what was lost."""

    members: list[Member]
    damaged: list[str]


def indexed(file: Path, number: int, skipped: Skipped) -> Shard:
    """`index_shard`, from the cache where the file is the one that was indexed. Raises InputError as it does."""
    try:
        status = file.stat()
    except OSError:
        return index_shard(file, number, skipped)  # which says so
    known = json.dumps([INDEX, str(file), status.st_size, status.st_mtime_ns])
    kept = cache_folder() / "tar" / f"{digest([file])[:32]}.parquet"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        table = pq.read_table(kept)
        found = {key.decode(): json.loads(value) for key, value in (table.schema.metadata or {}).items()}
        if found["known"] == known:
            skipped.update(found["skipped"])
            rows = zip(*(table.column(name).to_pylist() for name in Member._fields[1:]), strict=True)
            return Shard([Member(number, *row) for row in rows], found["damaged"])
    own: Skipped = Counter()
    shard = index_shard(file, number, own)
    skipped.update(own)
    if len(shard.members) >= KEEP_FROM:
        facts = {"known": known, "skipped": dict(own), "damaged": shard.damaged}
        columns = dict(zip(Member._fields, zip(*shard.members, strict=True), strict=True))
        table = pa.table({name: columns[name] for name in Member._fields[1:]})
        table = table.replace_schema_metadata({key: json.dumps(value) for key, value in facts.items()})
        # a folder that cannot be written, or paths that are no text
        with contextlib.suppress(OSError, UnicodeError, pa.ArrowException), replacing(kept) as temporary:
            pq.write_table(table, temporary)
    return shard


def index_shard(file: Path, number: int, skipped: Skipped) -> Shard:
    """Index tar file `number` of a set by reading its headers and its .cls files.

    A tar that ends inside a member, or without the zeros that end an archive, has lost what follows. This is reported
    in `damaged`, and so is an image whose label is lost with it.

    Raises:
        InputError: not a plain tar file, or a .cls file without a label.
    """
    images: dict[str, Extent] = {}
    dotted: dict[str, Extent] = {}  # a.b.png: a picture that belongs to an image (a mask), or an image with such a name
    labels: dict[str, int] = {}
    has_members, truncation = False, ""
    try:
        length = file.stat().st_size
        with tarfile.open(file, "r:") as tar:
            try:
                for info in tar:
                    has_members = True
                    if info.isreg() and info.offset_data + info.size > length:
                        truncation = f"ends inside of {info.name}"
                    folder, _, base = info.name.rpartition("/")
                    key, _, suffix = base.partition(".")
                    if truncation or not info.isreg() or not keep_member(info.name, skipped) or not key:
                        continue
                    key = f"{folder}/{key}"
                    if suffix == LABEL:
                        labels[key] = _label(tar, info, file)
                    elif f".{suffix.lower()}" in SUFFIXES:
                        images[key] = (info.offset_data, info.size, info.name)
                    elif base.lower().endswith(SUFFIXES):
                        dotted[info.name] = (info.offset_data, info.size, info.name)
            except (tarfile.TarError, EOFError) as error:
                if not has_members:
                    raise
                truncation = truncation or f"is damaged ({' '.join(str(error).split())[:80]})"
            truncation = truncation or _end(file, tar.offset)
    except (tarfile.TarError, EOFError, OSError) as error:
        got = f"{file.name} ({' '.join(str(error).split())[:80]})"
        raise InputError("a plain tar file", got, "fetch it again, or unpack it where it is compressed") from error
    kept = images if labels else {**images, **dotted}
    damaged = [f"{file.name} {truncation}, what follows is lost"] if truncation else []
    if truncation and labels:  # the part that was cut off may contain the last image's label
        for key in [key for key in kept if key not in labels]:
            damaged.append(f"{file.name}/{kept.pop(key)[2]}: its label is lost")
    return Shard([Member(number, *extent, labels.get(key)) for key, extent in kept.items()], damaged)


def _end(file: Path, offset: int) -> str:
    """What is wrong after the last member; empty if a block of zeros ends the archive."""
    with file.open("rb") as content:
        content.seek(offset)
        block = content.read(BLOCK)
    if len(block) < BLOCK:
        return "ends without the zeros that end an archive"
    return "" if not any(block) else f"has a damaged header at byte {offset}"


def _label(tar: tarfile.TarFile, info: tarfile.TarInfo, file: Path) -> int:
    content = tar.extractfile(info)
    text = b"" if content is None else content.read(64)
    return parse_label(text.decode("utf-8", errors="replace"), f"{info.name} of {file.name}")


class ShardSet(ImageSet):
    """Images inside tar files. Labels come from .cls files, or from the sorted folders within the tars."""

    def __init__(self, files: Sequence[Path], *, name: str, split: str) -> None:
        self.name, self.split, self.files = name, split, list(files)
        skipped: Skipped = Counter()
        shards = [indexed(file, number, skipped) for number, file in enumerate(files)]
        self.members = [member for shard in shards for member in shard.members]
        self.damaged = tuple(damage for shard in shards for damage in shard.damaged)
        self.remarks = skipped_remark(name, skipped)
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
        """The name of the shard and the path of the image in it."""
        member = self.members[index]
        return f"{self.files[member.shard].name}/{member.path}"

    def fingerprint(self) -> str:
        """Hash of the members' names, offsets, sizes and labels; contents are not read."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        return digest(item for member in self.members for item in member)


def open_shards(files: Sequence[Path]) -> ShardSet:
    """The images of these tar files; the set is named after their folder, or after a single file.

    Raises:
        InputError: not a plain tar file, no images, or labels for only some of the images.
    """
    name, split = name_and_split(files)
    return ShardSet(files, name=name, split=split)


def _labelled(members: Sequence[Member], name: str) -> tuple[tuple[str, ...] | None, Labels | None]:
    given = [member.label for member in members if member.label is not None]
    if len(given) == len(members):
        return None, np.asarray(given, dtype=np.int64)
    if given:
        got = f"{len(members) - len(given)} of {len(members)} without"
        raise InputError(f"a .cls for every image of {name}, or none", got, "complete the shards")
    folders = [member.path.rpartition("/")[0].rpartition("/")[2] for member in members]
    ranks = {folder: rank for rank, folder in enumerate(sorted(set(folders)))}
    if len(ranks) == 1:  # a single folder says nothing about classes
        return None, None
    return tuple(ranks), np.asarray([ranks[folder] for folder in folders], dtype=np.int64)
