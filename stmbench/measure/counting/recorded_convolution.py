"""Convolutions on the meta device, under the name by which the tracer records them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class RecordConvolutions(TorchFunctionMode):
    """Calls convolutions by the one name under which the tracer records them on every device.

    F.conv2d is not recorded itself. On the CPU it ends in `aten::_convolution`, which is; on the meta device it does
    not, and the convolution (with all that feeds it) would be missing from the graph.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _CONVOLUTIONS:
            return _convolution(*args, **kwargs)
        if func in _TRANSPOSED:
            return _transposed(*args, **kwargs)
        return func(*args, **kwargs)


_CONVOLUTIONS = {torch.conv1d, torch.conv2d, torch.conv3d}
_TRANSPOSED = {torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d}
_BACKEND_FLAGS = (False, False, False, False)  # benchmark, deterministic, cuDNN, TF32: no matter without arithmetic


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    axes = weight.ndim - 2
    dilation = _each(dilation, axes)
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        # one more on the far side where the total is odd, and F.pad takes the last axis first
        sides = [side for t in reversed(total) for side in (t // 2, t - t // 2)]
        input, padding = nn.functional.pad(input, sides), 0
    around = _each(0 if isinstance(padding, str) else padding, axes)
    return _record(input, weight, bias, _each(stride, axes), around, dilation, False, _each(0, axes), groups)


def _transposed(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    axes = weight.ndim - 2
    sizes = (_each(stride, axes), _each(padding, axes), _each(dilation, axes), True, _each(output_padding, axes))
    return _record(input, weight, bias, *sizes, groups)


def _record(*arguments: Any) -> Tensor:
    out: Tensor = torch.ops.aten._convolution(*arguments, *_BACKEND_FLAGS)
    return out


def _each(value: int | Sequence[int], axes: int) -> list[int]:
    return [value] * axes if isinstance(value, int) else list(value) * (axes if len(value) == 1 else 1)
