"""The forms of a mixer: forward, reference, affinity and cost, which have to agree."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from stmbench.measure.counting import count

EXACT: Final = 1e-12  # of the largest output, in float64


def check_forms(module: Any, size: tuple[int, int]) -> Tensor:
    """Assert that a mixer in float64 gives on one map what its reference, its affinity and its MAC formula say.

    Returns:
        The input, (2, *size, C).
    """
    dim = module.config.dim
    x = torch.randn(2, *size, dim, dtype=torch.float64)
    with torch.no_grad():
        expected = module.reference(x)
        assert torch.isfinite(expected).all()
        product = module.project(module.affinity(x).apply(module.values(x)), *size)
        outputs = {"forward": module(x), "affinity": product}
    outputs["with gradients"] = module(x).detach()  # possibly another kernel
    for name, output in outputs.items():
        assert float((output - expected).abs().max()) <= EXACT * max(1.0, float(expected.abs().max())), name
    assert module.macs(*size) == count(module, (*size, dim)).macs
    return x
