"""Copies of modules that keep tensors: in containers, in objects, with a graph, without storage."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from stmbench.copies import copied, tensors_of


class Slotted:
    __slots__ = ("kept",)

    def __init__(self, kept: Tensor) -> None:
        self.kept = kept


class Keeper(nn.Module):
    """Keeps what is computed from its weight in every kind of place."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.register_buffer("steps", torch.tensor(3))
        self.plain = torch.tensor([5.0, 6.0])
        made = [self.weight * number for number in range(5)]
        self.kept: Any = {"list": [made[0], (made[1],)], "slots": Slotted(made[2]), "here": self}
        self.twice = functools.partial(torch.add, made[3])
        self.again, self.once_more = made[4], made[4]


def test_tensors_of_every_place_are_found_once() -> None:
    keeper = Keeper()
    found = [tensor for tensor in tensors_of(keeper) if tensor is not keeper.weight.grad]
    assert len(found) == len({id(tensor) for tensor in found}) == 8  # 1 parameter, 1 buffer, 1 plain, 5 with a graph
    assert sum(not tensor.is_leaf for tensor in found) == 5


def test_a_copy_has_the_values_without_graphs_and_shares_nothing() -> None:
    keeper = Keeper()
    other = copied(keeper)
    assert all(tensor.is_leaf for tensor in tensors_of(other))
    assert not {id(tensor) for tensor in tensors_of(keeper)} & {id(tensor) for tensor in tensors_of(other)}
    assert other.kept["slots"].kept.tolist() == [2.0, 4.0]
    assert other.kept["here"] is other
    assert other.again is other.once_more
    assert other.again.tolist() == [4.0, 8.0]
    assert other.weight.requires_grad
    other.again.zero_()
    assert keeper.again.tolist() == [4.0, 8.0]
    assert keeper.again.grad_fn is not None  # the original is as it was


def test_without_storage_all_tensors_are_on_the_meta_device() -> None:
    other = copied(Keeper(), without_storage=True)
    found = list(tensors_of(other))
    assert {tensor.device.type for tensor in found} == {"meta"}
    assert [tuple(tensor.shape) for tensor in found if tensor.ndim == 0] == [()]
    assert isinstance(other.weight, nn.Parameter)
    assert other.weight.requires_grad
