"""Files that are no checkpoints are refused in our words: what came instead, and what to do."""

from __future__ import annotations

import argparse
import io
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stmbench.checkpoints import load_checkpoint
from stmbench.checkpoints.reading import read_weights, source_of
from stmbench.errors import CheckpointError

W = torch.ones(2, 3)


class Code:
    """A pickle that runs a command when it is loaded carelessly."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('code ran')",))


def archive(*names: str) -> bytes:
    """A zip archive of files with these names."""
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as file:
        for name in names:
            file.writestr(name, "content")
    return buffer.getvalue()


def quantised() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(W, 0.1, 0, torch.qint8)


# what is in the file: words of the refusal
BYTES: dict[str, tuple[bytes, str]] = {
    "a page": (b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>", "an HTML page; the address gave a page"),
    "an error of a bucket": (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "an HTML page"),
    "an LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer instead"),
    "nothing": (b"", "an empty file; fetch the file again"),
    "a zip": (archive("weights.pth", "README"), "a zip archive that is no torch file; unpack it"),
    "arrays": (archive("w.npy"), "a zip archive that is no torch file"),
    "a program": (archive("x/data.pkl", "x/code/model.py"), "a TorchScript program; save the model's state_dict()"),
    "half a zip": (archive("x/data.pkl")[:60], "a truncated or damaged torch file"),
    "gzip": (b"\x1f\x8b\x08\x00", "a gzip archive; unpack it"),
    "tar": (b"weights.pth".ljust(257, b"\0") + b"ustar\x0000", "a tar archive"),
    "Keras": (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras writes"),
    "an index": (b'{"weight_map": {}}', "a JSON file"),
    "text": (b"these are not the weights", "a text file"),
    "a pickle": (pickle.dumps(Code()), "a pickle that torch.save did not write"),
    "a pickle of arrays": (pickle.dumps({"w": np.ones(2)}, protocol=2), "a pickle with code or objects in it (numpy."),
    "noise": (bytes(range(1, 200)), "truncated, damaged or no checkpoint"),
}
OBJECTS: dict[str, tuple[Any, str]] = {
    "code": ({"model": Code()}, "a pickle with code or objects in it (exec)"),
    "a model": (nn.Linear(2, 2), "a pickle with code or objects in it (torch.nn.modules.linear.Linear)"),
    "a path in the options": (argparse.Namespace(out=Path("x")), "a pickle with code or objects in it (pathlib."),
    "numbers as names": ({0: W}, "the key 0 (int)"),
    "tuples as names": ({"model": {("w", 1): W}}, "the key ('w', 1) (tuple)"),
    "a number among names": ({"w": W, 1: W}, "the key 1 (int)"),
    "sparse": ({"w": W.to_sparse()}, "'w': a sparse tensor"),
    "meta": ({"w": torch.empty(2, device="meta")}, "'w': a meta tensor"),
    "quantised": ({"w": quantised()}, "'w': a quantised tensor"),
    "no tensors": ({"epoch": 3}, "'epoch': int"),
    "a list": ([W], "a list"),
    "more than it holds": ({"w": torch.zeros(1).expand(2**30, 512)}, "of which the file holds only a part"),
}


def refusal(path: Path) -> str:
    """What is said of a file."""
    with pytest.raises(CheckpointError) as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("what", BYTES)
def test_bytes_of_another_kind(what: str, suffix: str, tmp_path: Path) -> None:
    content, words = BYTES[what]
    (path := tmp_path / f"mine{suffix}").write_bytes(content)
    assert words in refusal(path)


@pytest.mark.parametrize("what", OBJECTS)
def test_objects_that_are_no_named_tensors(what: str, tmp_path: Path) -> None:
    content, words = OBJECTS[what]
    torch.save(content, tmp_path / "mine.pth")
    assert words in refusal(tmp_path / "mine.pth")


def test_places_that_are_no_files(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.pth")
    assert "no file at" in refusal(tmp_path / "absent.pth")
    assert "a folder: " in refusal(tmp_path)
    assert "a pipe, socket or device: pipe.pth" in refusal(tmp_path / "pipe.pth")


@pytest.mark.parametrize("length", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_cut_files(length: float, suffix: str, tmp_path: Path) -> None:
    path, state = tmp_path / f"mine{suffix}", {"w": torch.zeros(30, 30)}
    torch.save(state, path) if suffix == ".pth" else save_file(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(length * len(content))])
    words = refusal(path)
    assert "truncated" in words, words


def _torch(state: Any, path: Path) -> None:
    torch.save({"model": state, "args": argparse.Namespace(lr=0.1, model="x", drop=None), "epoch": 3}, path)


def _old(state: Any, path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin", ""])
@pytest.mark.parametrize("write", [_torch, _old, save_file], ids=["options", "old", "safetensors"])
def test_what_loads_whatever_it_is_called(write: Callable[[Any, Path], None], suffix: str, tmp_path: Path) -> None:
    """timm's training checkpoints carry their options as a Namespace; a suffix says nothing about the content."""
    write(nn.Linear(3, 2).state_dict(), tmp_path / f"mine{suffix}")
    assert load_checkpoint(nn.Linear(3, 2), tmp_path / f"mine{suffix}").source == f"mine{suffix}"


def test_numbers_of_another_kind_are_not_converted() -> None:
    layer = nn.Linear(2, 2)
    for dtype in (torch.int8, torch.complex64):
        state = {"weight": torch.ones(2, 2).to(dtype), "bias": torch.ones(2)}
        name = str(dtype).removeprefix("torch.")
        with pytest.raises(CheckpointError, match=rf"1 of another type \(weight {name} instead of float32\)"):
            load_checkpoint(layer, state)
    load_checkpoint(layer, {"weight": torch.ones(2, 2, dtype=torch.float16), "bias": torch.ones(2).double()})


def test_a_source_is_a_name_that_fits_a_table(tmp_path: Path) -> None:
    for given, name in (("random:0", "file random:0"), ("a\x1b[31m\nb", "a[31mb"), ("x" * 500, "x" * 120)):
        save_file({"w": W}, path := tmp_path / "w.safetensors", metadata={"source": given})
        assert source_of(path) == name
