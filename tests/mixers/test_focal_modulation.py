"""Focal modulation against the authors' outputs and timm's module."""

from __future__ import annotations

import pytest
import torch
from timm.models.focalnet import FocalModulation as TimmFocalModulation

from stmbench.checkpoints import load_checkpoint
from stmbench.errors import ConfigError
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.mixers.focal_modulation import FocalModulation, FocalModulationConfig
from tests.mixers.golden import check_golden

CASES = {
    "focal_srf": FocalModulationConfig(dim=64),
    "focal_lrf": FocalModulationConfig(dim=64, levels=3),
    "focal_large": FocalModulationConfig(dim=64, levels=4, window=5, normalize=True, norm=True),
}


@pytest.mark.parametrize("name", CASES)
def test_the_authors_output(name: str) -> None:
    check_golden(name, lambda height, width: FocalModulation(CASES[name]))


@pytest.mark.parametrize(("levels", "normalize", "norm"), [(2, False, False), (3, True, True)])
@pytest.mark.parametrize("size", [(14, 14), (1, 1), (5, 9)])
def test_equal_to_timm_on_the_same_weights(levels: int, normalize: bool, norm: bool, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    theirs = TimmFocalModulation(48, 3, levels, use_post_norm=norm, normalize_modulator=normalize).double().eval()
    ours = FocalModulation(FocalModulationConfig(dim=48, levels=levels, normalize=normalize, norm=norm)).double().eval()
    if norm:
        assert hasattr(theirs.norm, "eps")
        theirs.norm.eps = 1e-5  # timm's is 1e-6, the authors' is PyTorch's default
    load_checkpoint(ours, theirs.state_dict())
    x = torch.randn(2, *size, 48, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        assert torch.allclose(ours(x), expected, rtol=1e-12, atol=1e-12)


def test_the_mean_of_the_map_reaches_every_token() -> None:
    torch.manual_seed(0)
    module, x = FocalModulation(FocalModulationConfig(dim=8)).eval(), torch.randn(1, 20, 20, 8)
    changed = x.clone()
    changed[0, 0, 0] += 5
    with torch.no_grad():
        moved = (module(changed) - module(x)).abs().sum(dim=3)[0]
    assert bool((moved > 0).all())
    # the kernels of 3 x 3 and 5 x 5 reach three tokens, and what is beyond sees the mean alone
    assert float(moved[:3, :3].mean()) > 10 * float(moved[8:, 8:].mean())


def test_config() -> None:
    assert FocalModulationConfig(dim=8, levels=4, window=5).kernels == (5, 7, 9, 11)
    for wrong in ({"levels": 0}, {"window": 4}, {"factor": 1}, {"factor": -2}):
        with pytest.raises(ConfigError, match="expected"):
            FocalModulationConfig(dim=8, **wrong)  # type: ignore[arg-type]


def test_one_graph() -> None:
    position = BlockPosition(stage=0, block=0, dim=32, resolution=(14, 14))
    module = MIXERS.get("focal_modulation").build(position, levels=3, norm=True, normalize=True)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    x = torch.randn(2, 9, 7, 32)
    assert torch.allclose(compiled(x), module(x), rtol=1e-5, atol=1e-6)
