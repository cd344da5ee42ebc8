"""Where a traced tensor comes from, seen through operations that only rearrange it."""

from __future__ import annotations

from torch import _C

from stmbench.measure.counting.free import REARRANGING

_TRANSPARENT = REARRANGING | {"prim::ListUnpack"}

SAMPLERS = frozenset({"aten::grid_sampler", "aten::grid_sampler_2d", "aten::grid_sampler_3d"})


def origin(value: _C.Value) -> _C.Node:
    """The node that computed `value`, up to views, permutations and copies."""
    node = value.node()
    while node.kind() in _TRANSPARENT:
        node = next(iter(node.inputs())).node()
    return node


def is_sampled(value: _C.Value) -> bool:
    """Whether `value` holds interpolated samples, so that a factor on it is the weight of a sample."""
    return origin(value).kind() in SAMPLERS
