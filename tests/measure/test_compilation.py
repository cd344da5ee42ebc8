"""With the compiler's 'eager' backend: Dynamo makes the same graphs, and nothing is built from them."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from stmbench.errors import UnitError
from stmbench.measure.compilation import Compilation, compiled
from tests.measure.quick_compiler import quick_compiler

__all__ = ["quick_compiler"]


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x + 1
        torch._dynamo.graph_break()
        return x * 2


def test_more_modules_of_one_class_than_the_compiler_has_room_for_are_all_compiled() -> None:
    for factor in range(12):
        before = Compilation.so_far()
        run = compiled(Scaled(float(factor)))
        assert run(torch.ones(2)).tolist() == [factor, factor]
        run(torch.ones(3))
        found = Compilation.so_far().since(before)
        assert found.facts == {"graphs": 2, "graph_breaks": 0}, factor
        found.require(2)


def test_a_graph_that_breaks_is_counted_and_refused() -> None:
    before = Compilation.so_far()
    compiled(Broken())(torch.ones(2))
    found = Compilation.so_far().since(before)
    assert found.facts["graphs"] == 2
    assert found.facts["graph_breaks"] >= 1, "Dynamo counts it in the frame that called, too"
    with pytest.raises(UnitError, match=r"^expected 1 compiled .*got 2 graphs and \d graph break.*--compile"):
        found.require(1)


@pytest.mark.parametrize(
    ("graphs", "wanted", "words"),
    [(0, 1, "got 0 graphs and 0 graph breaks .* runs eagerly"), (1, 0, "expected 0 compiled graphs .*, got 1 graph ")],
)
def test_a_graph_that_is_missing_or_too_many_is_refused(graphs: int, wanted: int, words: str) -> None:
    with pytest.raises(UnitError, match=words):
        Compilation(graphs=graphs, breaks=Counter()).require(wanted)
