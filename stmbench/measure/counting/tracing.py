"""Traces a forward pass as a graph of operations with shapes, without computing anything if possible.

The model is copied to PyTorch's meta device, where tensors have shapes but no values, and traced there. A model that
needs values (it branches on one, or creates tensors on the CPU) is copied and traced on its own device. What a module
keeps of earlier passes (a cache, the last attention map) is in the copy without its graph.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from stmbench.copies import copied
from stmbench.errors import CountError

T = TypeVar("T")
META = torch.device("meta")
NUMBER = re.compile(r"\btensor\((-?\d+)\)")  # a side in an error's message: while a model is traced, sides are tensors


def traced(model: nn.Module, input_size: Sequence[int], analyse: Callable[[nn.Module, Tensor], T]) -> tuple[T, str]:
    """`analyse(copy of model, one image)` in evaluation mode, on the meta device if that works.

    Args:
        model: not modified.
        input_size: shape of one image, without the batch axis.
        analyse: traces the copy.

    Returns:
        The result of `analyse`, and the device used: 'meta', or the model's own.

    Raises:
        CountError: its forward pass cannot be traced.
    """
    reference = next((t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()), torch.zeros(0))
    size, dtype = (1, *input_size), reference.dtype
    try:
        with _quietly(), RecordConvolutions():
            return analyse(
                copied(model, without_storage=True).eval(), torch.zeros(size, dtype=dtype, device=META)
            ), "meta"
    except CountError:
        raise
    except Exception as on_meta:  # a forward pass without values may raise anything
        device = reference.device
        try:
            with _quietly(), _in_evaluation(model) as own:
                image = torch.zeros(size, dtype=dtype, device=device)
                return analyse(own, image), str(device)
        except CountError:
            raise
        except Exception as error:
            reason = NUMBER.sub(r"\1", " ".join(str(error).split()))[:200]
            raise CountError(
                f"{type(model).__name__} cannot be traced on an input of {size}: {type(error).__name__}: {reason}"
            ) from on_meta


@contextmanager
def _in_evaluation(model: nn.Module) -> Iterator[nn.Module]:
    """A copy in evaluation mode; of a model that cannot be copied (it holds a lock) itself, for as long as it takes."""
    try:
        own = copied(model)
    except Exception:  # its own __deepcopy__ may raise anything
        modes = {module: module.training for module in model.modules()}
        try:
            yield model.eval()
        finally:
            for module, mode in modes.items():
                module.training = mode
    else:
        yield own.eval()


@contextmanager
def _quietly() -> Iterator[None]:
    """No gradients, no warnings, and nn.MultiheadAttention decomposed into its operations."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class RecordConvolutions(TorchFunctionMode):
    """Calls convolutions on the meta device by the name under which the tracer records them elsewhere.

    F.conv2d itself is not recorded. On the CPU it calls `aten::_convolution`, which is; on the meta device it does not,
    and the convolution with all its inputs would be missing from the graph.
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
_BACKEND_FLAGS = (False, False, False, False)  # benchmark, deterministic, cuDNN, TF32: irrelevant here


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
        # if the total is odd the far side gets one more; F.pad takes the last axis first
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
    _require_meta_convolution()
    out: Tensor = torch.ops.aten._convolution(*arguments, *_BACKEND_FLAGS)
    return out


def _shape_only(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """The output of a convolution on the meta device, where only its shape matters."""
    sides = []
    for n, k, s, p, d, o in zip(
        input.shape[2:], weight.shape[2:], stride, padding, dilation, output_padding, strict=True
    ):
        reach = d * (int(k) - 1)
        sides.append((int(n) - 1) * s - 2 * p + reach + o + 1 if transposed else (int(n) + 2 * p - reach - 1) // s + 1)
    channels = int(weight.shape[1]) * groups if transposed else int(weight.shape[0])
    return input.new_empty((int(input.shape[0]), channels, *sides))


@functools.cache
def _require_meta_convolution() -> Any:
    """Give torch `_convolution` on the meta device, once; 2.5 to 2.11 raise NotImplementedError there."""
    if torch._C._dispatch_has_kernel_for_dispatch_key("aten::convolution_overrideable", "Meta"):
        return None
    define: Any = torch.library.Library
    library = define("aten", "IMPL", "Meta")  # kept by the cache: it would be undone with the object
    library.impl("convolution_overrideable", _shape_only)
    return library


def _each(value: int | Sequence[int], axes: int) -> list[int]:
    return [value] * axes if isinstance(value, int) else list(value) * (axes if len(value) == 1 else 1)
