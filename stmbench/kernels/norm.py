"""The norm of many tensors together, such as a network's gradients or weights, in one call."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stmbench.kernels.library import call
from stmbench.kernels.setting import WHOLE, are_ready


def norm(tensors: Sequence[Tensor]) -> float:
    """The Euclidean norm of all numbers together; the order of the sum is not fixed, and large numbers overflow.

    Args:
        tensors: at least one; the answer is waited for where they are not on a CPU.
    """
    first = tensors[0].dtype
    # little is asked of each tensor: a small network's step has 150 of them and takes 30 ms
    is_plain = first in WHOLE and all(tensor.is_cpu for tensor in tensors)
    if is_plain and {tensor.dtype for tensor in tensors} == {first} and are_ready():
        found = tensors[0].new_empty(())
        dense = [tensor.contiguous() for tensor in tensors]
        call("norm", (dense, found), (len(dense), *map(Tensor.numel, dense)))
        return float(found)
    norms = torch._foreach_norm([tensor.detach() for tensor in tensors])  # of each
    return float(torch.linalg.vector_norm(torch.stack([each.to(norms[0].device, torch.float64) for each in norms])))
