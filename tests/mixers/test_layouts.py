"""A map's layout in memory changes nothing: images that were permuted, and maps of one token or one row, of which
PyTorch does not care how far apart their pixels are said to be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stmbench.mixers import BUILTIN
from stmbench.mixers.base import MIXERS, BlockPosition

SIZES = ((1, 1), (1, 5), (5, 1), (3, 4))


def _step(mixer: nn.Module, x: Tensor, *, is_permuted: bool) -> list[Tensor]:
    """Output and gradients, of a map and a gradient that come as they are or as channels-first images, permuted."""
    if is_permuted:
        x = x.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format).permute(0, 2, 3, 1)
    x.requires_grad_()
    y = mixer(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    if is_permuted:
        y, weights = y.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format), weights.permute(0, 3, 1, 2)
    learned = [parameter for parameter in mixer.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad((y * weights).sum(), [x, *learned], allow_unused=True)
    return [y.permute(0, 2, 3, 1) if is_permuted else y, *(g for g in gradients if g is not None)]


@pytest.mark.parametrize("name", [name for name in BUILTIN if MIXERS.get(name).any_size])
@pytest.mark.parametrize("size", SIZES)
def test_permuted_maps_give_the_same(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    position = BlockPosition(stage=1, block=1, dim=32, resolution=size)
    mixer = MIXERS.get(name).build(position, **MIXERS.get(name).preset("nano").options).double().train()
    x = torch.randn(3, *size, 32, dtype=torch.float64)
    plain, permuted = (_step(mixer, x.clone(), is_permuted=given) for given in (False, True))
    torch.testing.assert_close(permuted, plain, rtol=1e-9, atol=1e-9)
