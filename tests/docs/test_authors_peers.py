"""Classes of files outside the project, which `benchmarks/mixers.py --authors` times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.authors_files import AuthorsModule, NoPeerError, as_peer, check_same, imported
from benchmarks.authors_peers import AUTHORS
from stmbench.mixers.base import MIXERS, BlockPosition

POSITION = BlockPosition(stage=0, block=1, dim=4, resolution=(3, 3), index=1, depth=2)
FILE = """
from kernels_that_are_not_here import fast

print("built")

class Scale(nn.Module):
    pass
"""


class Scale(nn.Module):
    """Channels last times a weight, plus `extra`."""

    def __init__(self, extra: float = 0.0) -> None:
        super().__init__()
        self.weight, self.extra = nn.Parameter(torch.ones(4)), extra

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.extra


def entry(**given: Any) -> AuthorsModule:
    return AuthorsModule(repository="a/b", path="c.py", name="Scale", build=lambda *_: Scale(), **given)


def test_every_entry_is_of_a_mixer() -> None:
    assert set(AUTHORS) <= set(MIXERS.names())


def test_a_file_is_imported_with_stand_ins_for_what_its_class_does_not_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "published.py"
    with pytest.raises(NoPeerError, match=r"published\.py is missing"):
        imported(file, ())
    file.write_text("from torch import nn\n" + FILE, encoding="utf-8")
    with pytest.raises(NoPeerError, match="does not import: No module named 'kernels_that_are_not_here'"):
        imported(file, ())
    assert imported(file, ("kernels_that_are_not_here",)).Scale.__name__ == "Scale"
    assert capsys.readouterr().out == ""


def test_each_layout_is_given_what_it_takes() -> None:
    x = torch.randn(2, 3, 3, 4)
    shapes = []

    def call(module: Any, given: Tensor) -> Tensor:
        shapes.append(tuple(given.shape))
        return given

    for takes in ("BHWC", "BNC", "BCHW"):
        module, channels_first = as_peer(entry(takes=takes, call=call), Scale())
        y = module(x.permute(0, 3, 1, 2) if channels_first else x)
        assert y.shape == ((2, 4, 3, 3) if channels_first else x.shape)
    assert shapes == [(2, 3, 3, 4), (2, 9, 4), (2, 4, 3, 3)]


def test_only_the_same_computation_is_a_peer() -> None:
    ours, theirs = Scale(), Scale()
    check_same(ours, theirs, as_peer(entry(), theirs), POSITION)
    assert torch.equal(ours.weight, theirs.weight)
    assert not torch.equal(ours.weight, torch.ones(4))
    with pytest.raises(AssertionError, match="Scale computes something else"):
        check_same(ours, other := Scale(extra=0.1), as_peer(entry(), other), POSITION)
