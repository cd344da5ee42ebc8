"""A linear layer in float32 and without a gradient, for kernels that hold one."""

from __future__ import annotations

import torch
from torch import Tensor

from stmbench.kernels.library import call


def linear(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> None:
    """x weight^T + bias, into `out`: PyTorch would write the bias into all of it before the product.

    Args:
        x: (N, C).
        weight: (C', C).
        bias: (C',), contiguous.
        out: (N, C'), contiguous.
    """
    torch.mm(x, weight.t(), out=out)
    call("add_bias", (bias, out), (len(out), out.shape[1]), is_part=True)
