"""Read state dicts from files, as tensors and nothing else: a checkpoint never runs code.

A file that is no checkpoint (an HTML page, a Git LFS pointer, an archive, ...) is recognised by its first bytes and
refused with a remedy. The content decides what a file is, not its suffix.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from stmbench.checkpoints.selection import Checkpoint, WeightSet, choose_set, plain_state, weight_sets
from stmbench.errors import CheckpointError
from stmbench.tables.labels import is_random

_MAX_NAME = 120  # characters of a file's name in a table
_MAX_VIEW = 2**30  # bytes of a tensor that repeats the few values of its storage: a file of 1 kB can ask for more
# what torch's restricted unpickler refuses to import
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredWeights:
    """The weights of a file.

    Attributes:
        tensors: by their names in the file, on the CPU.
        source: what tables call them; with the key if the file holds several sets of weights.
        remark: which set was taken and which others the file holds; None if it holds one.
        resize_tables: whether tables of positions are to be resized.
    """

    tensors: dict[str, Tensor]
    source: str
    remark: str | None = None
    resize_tables: bool = False

    @functools.cached_property
    def state(self) -> dict[str, Tensor]:
        """Tensors by plain name, without counters."""
        return plain_state(self.tensors)


def read_weights(source: Checkpoint | str | Path | Mapping[str, Any]) -> StoredWeights:
    """The weights of a .safetensors file, a torch file or a (possibly wrapped) state dict.

    Raises:
        CheckpointError: no such file; a truncated file or one that is no checkpoint; a pickle that holds anything
            besides tensors and plain containers; a file without the weights that are asked for.
    """
    if isinstance(source, Mapping):
        given, content, name = Checkpoint(path=Path()), source, "state dict"
    else:
        given = Checkpoint.of(source)
        content, name = read_content(given.path), source_of(given.path)
    sets = weight_sets(content)
    taken = choose_set(sets, key=given.key, weights=given.weights)
    return StoredWeights(
        tensors=_checked(taken),
        source=f"{name}#{taken.key}" if len(sets) > 1 else name,
        remark=_remark(name, taken, sets) if len(sets) > 1 else None,
        resize_tables=given.resize_tables,
    )


def read_content(path: Path) -> Mapping[Any, Any]:
    """Everything in a file. Raises CheckpointError if that cannot be read safely, or is no mapping."""
    content = _read_file(path)
    if not isinstance(content, Mapping):
        raise CheckpointError("a state dict", f"a {type(content).__name__}", "pass the file that holds the weights")
    return content


def _checked(taken: WeightSet) -> dict[str, Tensor]:
    """The set's tensors. Raises CheckpointError that names the first entry that is no ordinary tensor."""
    if not taken.state:
        remedy = "pass the file that holds the model's weights"
        raise CheckpointError("a state dict (tensors by name)", "an empty one", remedy)
    for name, value in taken.state.items():
        got = _problem(name, value)
        if got is not None:
            remedy = "pass the file that holds the model's weights, as ordinary tensors by name"
            raise CheckpointError("a state dict (tensors by name)", got, remedy)
    return dict(taken.state)


def _problem(name: Any, value: Any) -> str | None:
    """Why an entry of a state dict is no ordinary named tensor; None if it is one."""
    if not isinstance(name, str):
        return f"the key {str(name)[:40]} ({type(name).__name__})"
    if not isinstance(value, Tensor):
        return f"{name!r}: {type(value).__name__}"
    if value.is_meta:
        return f"{name!r}: a meta tensor, which has a shape and no values"
    if value.is_quantized:
        return f"{name!r}: a quantised tensor"
    if value.is_nested or value.layout != torch.strided:
        return f"{name!r}: a {'nested' if value.is_nested else 'sparse'} tensor"
    if value.nbytes > max(value.untyped_storage().nbytes(), _MAX_VIEW):
        return f"{name!r}: a tensor of shape {tuple(value.shape)} of which the file holds only a part"
    return None


def _remark(name: str, taken: WeightSet, sets: list[WeightSet]) -> str:
    others = ", ".join(str(item) for item in sets if item is not taken)
    return f"{name}: took the weights {taken}; the file also holds {others}: --weights or FILE#KEY takes those"


def source_of(path: Path) -> str:
    """What tables call a file's weights: the name stored in the file, or else the file's own, without folders."""
    name = path.name
    with contextlib.suppress(Exception):
        if is_safetensors(path):
            with safe_open(path, framework="pt") as file:
                name = str((file.metadata() or {}).get("source") or name)
    name = "".join(letter for letter in name if letter.isprintable())[:_MAX_NAME] or "weights"
    return f"file {name}" if is_random(name) else name  # not to be mistaken for untrained weights


def _read_file(path: Path) -> Any:
    if not path.is_file():
        got = f"no file at {path}" if not path.exists() else f"a {_kind(path)}: {path.name}"
        raise CheckpointError("a checkpoint file", got, "correct the path")
    try:
        is_safe = is_safetensors(path)
        other = None if is_safe else not_a_checkpoint(path)
    except OSError as error:
        raise CheckpointError("a checkpoint file", f"{path.name}: {error.strerror}", "correct the path") from error
    if other is not None:
        raise CheckpointError("a checkpoint file", f"{path.name}, {other[0]}", other[1])
    try:
        if is_safe:
            return load_file(path)
        # torch warns about pickle protocols before it refuses; timm's checkpoints hold their options as a Namespace
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")
            with path.open("rb") as file:  # given a path, torch would look at the suffix
                return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can fail anywhere in the two readers, with any exception
        refused = _GLOBAL.search(str(error))
        if refused is not None:
            got = f"{path.name}, a pickle with code or objects in it ({refused[1]})"
            remedy = "if you trust it, load it yourself and save only its tensors: torch.save(state_dict, FILE)"
            raise CheckpointError("a file of tensors", got, remedy) from error
        with path.open("rb") as file:
            start = file.read(2)
        plain_pickle = start[:1] == b"\x80" and start[1:] > b"\x02"  # torch itself writes protocol 2
        what = "a pickle that torch.save did not write" if plain_pickle else "truncated, damaged or no checkpoint"
        got = f"{path.name}, {what}"
        raise CheckpointError("a complete checkpoint file", got, "fetch the file again") from error


def _kind(path: Path) -> str:
    return "folder" if path.is_dir() else "pipe, socket or device"


def is_safetensors(path: Path) -> bool:
    """Whether the file begins with the length of a JSON header and the header, as safetensors do. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size


def not_a_checkpoint(path: Path) -> tuple[str, str] | None:
    """(what the file is, remedy) for a file that cannot be a checkpoint; None if it may be one. Raises OSError."""
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
    except (zipfile.BadZipFile, NotImplementedError, ValueError):  # the last two for versions unknown to zipfile
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
