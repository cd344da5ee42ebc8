"""Models on the meta device: parameters with shapes, but neither memory nor the time that filling them takes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# what initialises a tensor in place: on the meta device torch works out in Python what shape that gives
METHODS: Final = ("normal_", "uniform_", "fill_", "zero_", "erfinv_", "clamp_", "mul_", "add_")
INITIALISERS: Final = (
    *("constant_", "ones_", "zeros_", "normal_", "trunc_normal_", "uniform_", "orthogonal_"),
    *("kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_"),
)
FILLING: Final = frozenset(
    [*(getattr(Tensor, name) for name in METHODS), *(getattr(nn.init, name) for name in INITIALISERS)]
)


@contextlib.contextmanager
def on_meta_device() -> Iterator[None]:
    """Make tensors on the meta device within the block, and leave out what would fill them."""
    with torch.device("meta"), _Unfilled():
        yield


class _Unfilled(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in FILLING:
            tensor = args[0] if args else kwargs.get("tensor")
            if isinstance(tensor, Tensor) and tensor.is_meta:
                return tensor
        return func(*args, **kwargs)
