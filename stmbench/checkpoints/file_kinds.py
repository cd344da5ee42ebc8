"""What a file is that is no checkpoint, seen from its first bytes: a page, a pointer, an archive, a text."""

from __future__ import annotations

import zipfile
from pathlib import Path

_FETCH = "fetch the file again"
_UNPACK = "unpack it and name the checkpoint inside"
# first bytes: what the file is, and the remedy
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer instead of the file", "run `git lfs pull`"),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ", "an xz archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstandard archive", _UNPACK),
    (b"Rar!", "a rar archive", _UNPACK),
    (b"\x89HDF\r\n", "an HDF5 file, such as Keras writes", "convert it to a PyTorch state dict"),
    (b"\x93NUMPY", "a NumPy array", "convert it to a PyTorch state dict"),
    (b"GGUF", "a GGUF file", "convert it to a PyTorch state dict"),
    (b"\x89PNG", "an image", "name the file that holds the weights"),
    (b"\xff\xd8\xff", "an image", "name the file that holds the weights"),
    (b"%PDF", "a PDF document", "name the file that holds the weights"),
)
_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<error")
_START = 1024


def is_safetensors(path: Path) -> bool:
    """Whether the file begins as safetensors do: the length of a JSON header, and the header. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size


def foreign(path: Path) -> tuple[str, str] | None:
    """(what the file is, remedy) for a file that can be no checkpoint; None where it may be one. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(_START)
    if not start:
        return "an empty file", _FETCH
    if start.lstrip().lower().startswith(_PAGES):
        return "an HTML page", "the address gave a page instead of the file: fetch the file itself"
    for magic, kind, remedy in _MAGIC:
        if start.startswith(magic):
            return kind, remedy
    if start.startswith(b"PK"):
        return _archive(path)
    if start[257:262] == b"ustar":
        return "a tar archive", _UNPACK
    return _text(start) if _is_text(start) else None


def _archive(path: Path) -> tuple[str, str] | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):  # zipfile has no word for a version it does not know
        return "a truncated or damaged torch file", _FETCH
    inside = [name.partition("/")[2] for name in names]
    if any(name.startswith("code/") for name in inside):
        return "a TorchScript program", "save the model's state_dict() instead"
    return None if "data.pkl" in inside else ("a zip archive that is no torch file", _UNPACK)


def _is_text(start: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\n\r\f" for byte in start) and start.isascii()


def _text(start: bytes) -> tuple[str, str]:
    if start.lstrip()[:1] in (b"{", b"["):
        return "a JSON file", "name the file that holds the weights"
    return "a text file", "name the file that holds the weights"
