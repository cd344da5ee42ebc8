"""A forward pass as a graph of operations with shapes, without running the arithmetic where that can be had.

The model is copied onto PyTorch's meta device, where tensors have shapes and no numbers, and traced there; a model that
needs numbers (a branch on a value, tensors it makes on the CPU) is copied and traced as it is.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from stmbench.errors import CountError
from stmbench.measure.counting.recorded_convolution import RecordConvolutions

T = TypeVar("T")
META = torch.device("meta")


def traced(model: nn.Module, input_size: Sequence[int], analyse: Callable[[nn.Module, Tensor], T]) -> tuple[T, str]:
    """`analyse(copy of model, one image)` in evaluation mode, on the meta device if that works.

    Args:
        model: left as it is.
        input_size: shape of one image, without the batch axis.
        analyse: traces the copy.

    Returns:
        What `analyse` returned, and the device it was traced on: 'meta', or the model's own.

    Raises:
        CountError: the model cannot be copied, or its forward pass cannot be traced.
    """
    reference = next((t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()), torch.zeros(0))
    size, dtype = (1, *input_size), reference.dtype
    try:
        with _quietly(), RecordConvolutions():
            return analyse(_on_meta(model), torch.zeros(size, dtype=dtype, device=META)), "meta"
    except CountError:
        raise
    except Exception as on_meta:  # whatever a forward pass without numbers may run into
        device = reference.device
        try:
            with _quietly():
                image = torch.zeros(size, dtype=dtype, device=device)
                return analyse(copy.deepcopy(model).eval(), image), str(device)
        except CountError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise CountError(
                f"{type(model).__name__} cannot be traced on an input of {size}: {type(error).__name__}: {reason}"
            ) from on_meta


def _on_meta(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose tensors have no numbers; nothing is allocated."""
    memo: dict[int, Any] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        empty = torch.empty_like(tensor, device=META)
        memo[id(tensor)] = nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty
    return copy.deepcopy(model, memo).eval()


@contextmanager
def _quietly() -> Iterator[None]:
    """No gradients, no warnings, and nn.MultiheadAttention as the operations it consists of."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
