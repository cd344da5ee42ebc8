"""Half precision against single precision, on the same weights and images."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from stmbench.architectures.catalog import create_model
from stmbench.mixers.base import MIXERS, BlockPosition, Mixer

pytestmark = pytest.mark.slow

BELOW_ONE_PERCENT = 0.01


def dcnv3(side: int) -> Mixer:
    """With offsets of a token or so, and weights that half precision can hold exactly."""
    torch.manual_seed(0)
    module = MIXERS.get("dcnv3").build(BlockPosition(stage=0, block=1, dim=32, resolution=(side, side))).eval()
    nn.init.normal_(module.get_parameter("offsets.bias"), std=1.0)
    assert isinstance(module, Mixer)
    return module.bfloat16().float()


def difference(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual.float() - expected).norm() / expected.norm())


@pytest.mark.parametrize("grad", [False, True], ids=["gathered", "sampled"])
@pytest.mark.parametrize("side", [14, 56, 112])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sampling_positions_are_exact_in_half_precision(dtype: torch.dtype, side: int, grad: bool) -> None:
    module = dcnv3(side)
    x = torch.randn(1, side, side, 32).to(dtype).float()
    with torch.no_grad():
        expected = module(x)
    with torch.set_grad_enabled(grad):
        output = module.to(dtype)(x.to(dtype)).detach()
    assert output.dtype == dtype
    assert difference(output, expected) < BELOW_ONE_PERCENT


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("side", [14, 56, 112])
def test_sampling_positions_are_exact_under_autocast(side: int, grad: bool) -> None:
    module, x = dcnv3(side), torch.randn(1, side, side, 32)
    with torch.no_grad():
        expected = module(x)
    with torch.set_grad_enabled(grad), torch.autocast("cpu", torch.bfloat16):
        output = module(x).detach()
        places, _ = module.points(x)  # type: ignore[operator]
    assert places.dtype == torch.float32
    assert difference(output, expected) < BELOW_ONE_PERCENT


@pytest.mark.parametrize("mode", ["inference", "grad", "autocast"])
def test_one_image_of_224_pixels_is_finite_in_bfloat16(mode: str) -> None:
    torch.manual_seed(0)
    model, x = create_model("unified_dcnv3_micro[layer_scale=1]").eval(), torch.randn(1, 3, 224, 224)
    if mode != "autocast":
        model, x = model.bfloat16(), x.bfloat16()
    auto = torch.autocast("cpu", torch.bfloat16) if mode == "autocast" else contextlib.nullcontext()
    with torch.set_grad_enabled(mode == "grad"), auto:
        assert bool(torch.isfinite(model(x)).all())


# of the output's norm; deformable attention decides in half precision where it looks
LIMITS = {"deformable_attn": 0.06}


@pytest.mark.parametrize("name", MIXERS.names())
@pytest.mark.parametrize("autocast", [False, True])
def test_every_mixer_in_bfloat16(name: str, autocast: bool) -> None:
    """Forward and backward: finite, and near single precision."""
    torch.manual_seed(0)
    module = MIXERS.get(name).build(BlockPosition(stage=0, block=1, dim=64, resolution=(28, 28))).train()
    x = torch.randn(2, 28, 28, 64)
    expected = module(x).detach()
    module, x = (module, x) if autocast else (module.bfloat16(), x.bfloat16())
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = module(x.requires_grad_())
    output.float().square().mean().backward()
    assert all(bool(p.grad.isfinite().all()) for p in module.parameters() if p.grad is not None)
    assert difference(output.detach(), expected) < LIMITS.get(name, 0.04)
