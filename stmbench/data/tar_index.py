"""Where images are inside a tar file, from its headers; what a truncated or damaged one has lost is named."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import NamedTuple

from stmbench.data.decoding import SUFFIXES
from stmbench.data.label_files import whole_label
from stmbench.data.walking import Passed, in_archive
from stmbench.errors import InputError

LABEL = "cls"
BLOCK = tarfile.BLOCKSIZE

Place = tuple[int, int, str]  # of a member's bytes: offset, size, path


class Member(NamedTuple):
    """One image in a shard: where its bytes are, its path inside, the number in its .cls."""

    shard: int
    offset: int
    size: int
    path: str
    label: int | None


class Shard(NamedTuple):
    """The images of one tar, and what was lost."""

    members: list[Member]
    damaged: list[str]


def index(file: Path, number: int, passed: Passed) -> Shard:
    """The images of one tar, the `number`-th of its set; reads its headers and its .cls files.

    A tar that ends inside a member, or without the zeros that end an archive, has lost what follows: that is named in
    `damaged`, and so is an image whose label is lost with it.

    Raises:
        InputError: no plain tar at all, or a .cls that holds no label.
    """
    images: dict[str, Place] = {}
    dotted: dict[str, Place] = {}  # a.b.png: a picture beside an image (a mask), or a file so named
    labels: dict[str, int] = {}
    some, cut = False, ""
    try:
        length = file.stat().st_size
        with tarfile.open(file, "r:") as tar:
            try:
                for info in tar:
                    some = True
                    if info.isreg() and info.offset_data + info.size > length:
                        cut = f"ends inside of {info.name}"
                    folder, _, base = info.name.rpartition("/")
                    key, _, suffix = base.partition(".")
                    if cut or not info.isreg() or not in_archive(info.name, passed) or not key:
                        continue
                    key = f"{folder}/{key}"
                    if suffix == LABEL:
                        labels[key] = _label(tar, info, file)
                    elif f".{suffix.lower()}" in SUFFIXES:
                        images[key] = (info.offset_data, info.size, info.name)
                    elif base.lower().endswith(SUFFIXES):
                        dotted[info.name] = (info.offset_data, info.size, info.name)
            except (tarfile.TarError, EOFError) as error:
                if not some:
                    raise
                cut = cut or f"is damaged ({' '.join(str(error).split())[:80]})"
            cut = cut or _end(file, tar.offset)
    except (tarfile.TarError, EOFError, OSError) as error:
        got = f"{file.name} ({' '.join(str(error).split())[:80]})"
        raise InputError("a plain tar file", got, "fetch it again, or unpack it where it is compressed") from error
    found = images if labels else {**images, **dotted}
    damaged = [f"{file.name} {cut}, what follows is lost"] if cut else []
    if cut and labels:  # what was cut off may be the label of the last image
        for key in [key for key in found if key not in labels]:
            damaged.append(f"{file.name}/{found.pop(key)[2]}: its label is lost")
    return Shard([Member(number, *place, labels.get(key)) for key, place in found.items()], damaged)


def _end(file: Path, offset: int) -> str:
    """What is wrong behind the last member; nothing where a block of zeros ends the archive."""
    with file.open("rb") as content:
        content.seek(offset)
        block = content.read(BLOCK)
    if len(block) < BLOCK:
        return "ends without the zeros that end an archive"
    return "" if not any(block) else f"has a damaged header at byte {offset}"


def _label(tar: tarfile.TarFile, info: tarfile.TarInfo, file: Path) -> int:
    content = tar.extractfile(info)
    text = b"" if content is None else content.read(64)
    return whole_label(text.decode("utf-8", errors="replace"), f"{info.name} of {file.name}")
