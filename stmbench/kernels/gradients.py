"""Backward passes of kernels: when they may run, and what stands in for them where they may not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from stmbench.kernels.setting import can_run_in, is_dense


def may_run(gradient: Tensor) -> bool:
    """Whether kernels may work on a gradient: in a backward pass that nobody differentiates, batches, counts or casts,
    and of numbers that lie in memory as they are."""
    is_batched = torch._C._functorch.is_legacy_batchedtensor(gradient)  # by `is_grads_batched`, which no mode tells
    is_plain = type(gradient) is Tensor and not is_batched and is_dense(gradient)
    return is_plain and not torch.is_grad_enabled() and can_run_in(gradient)


def replayed(
    plain: Callable[..., Tensor], inputs: Sequence[Tensor], needed: Sequence[bool], gradient: Tensor
) -> list[Tensor | None]:
    """The gradients of the inputs that are needed, None for others, by PyTorch's own operations.

    Args:
        plain: the function whose backward pass this is; it is computed once more, which a mode that counts operations
            does not see.
        inputs: as the forward pass saved them, so that a second derivative finds where they come from.
        needed: of each.
        gradient: of what `plain` gives; it may be batched, or have a tangent.
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad(), torch.autocast(gradient.device.type, enabled=False), _unseen():
        aliases = [tensor.view_as(tensor) for tensor in inputs]  # the same tensor may come twice
        y = plain(*aliases)
    wanted = [alias for alias, is_needed in zip(aliases, needed, strict=True) if is_needed]
    found = iter(torch.autograd.grad(y, wanted, gradient, create_graph=again) if wanted else ())
    return [next(found) if is_needed else None for is_needed in needed]


def _unseen() -> contextlib.AbstractContextManager[object]:
    """Operations that no mode is shown."""
    disabled: contextlib.AbstractContextManager[object] = _disable_current_modes()
    return disabled
