"""DCNv4: the authors' outputs in all their variants, and what the options promise."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stmbench.errors import ConfigError
from stmbench.mixers.base import BlockPosition
from stmbench.mixers.dcnv4 import Dcnv4, Dcnv4Config, config_at
from tests.mixers.forms import check_forms
from tests.mixers.golden import check_golden

VARIANTS: dict[str, dict[str, Any]] = {
    "dcnv4": {},
    "dcnv4_dw3_nocenter": {"dw_kernel": 3, "remove_center": True, "output_bias": False, "offset_scale": 0.5},
    "dcnv4_cfs": {"center_feature_scale": True},
}
OTHERS: tuple[dict[str, Any], ...] = (
    *VARIANTS.values(),
    {"kernel": 5, "dilation": 2, "offset_scale": 1.5, "center_feature_scale": True, "dw_kernel": 5},
    {"kernel": 1},
)


def built(**options: Any) -> Dcnv4:
    torch.manual_seed(0)
    module = Dcnv4(Dcnv4Config(dim=32, groups=2, **options)).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module


@pytest.mark.parametrize("name", VARIANTS)
def test_outputs_are_the_authors(name: str) -> None:
    check_golden(name, lambda height, width: Dcnv4(Dcnv4Config(dim=64, groups=4, **VARIANTS[name])))


@pytest.mark.parametrize("options", OTHERS)
@pytest.mark.parametrize("size", [(1, 1), (5, 8)])
def test_reference_affinity_and_cost_hold_for_every_option(options: dict[str, Any], size: tuple[int, int]) -> None:
    check_forms(built(**options), size)


def test_a_point_moves_right_with_its_first_offset() -> None:
    """One point per group, offset (1, 0) and weight 1: the output is the right neighbour's value."""
    module = built(kernel=1)
    x = torch.randn(1, 3, 4, 32, dtype=torch.float64)
    with torch.no_grad():
        module.offsets_weights.weight.zero_()
        module.offsets_weights.bias.copy_(torch.tensor([1.0, 0, 1, 1, 0, 1, 0, 0]))
        shifted = torch.nn.functional.pad(module.proj_in(x)[:, :, 1:], (0, 0, 0, 1))
        assert torch.allclose(module(x), module.proj_out(shifted), atol=1e-12)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"groups": 3}, "groups that divide dim 32, got 3"),
        ({"groups": 2, "kernel": 2}, "an odd kernel >= 1, got 2"),
        ({"groups": 2, "dilation": 0}, "dilation >= 1, got 0"),
        ({"groups": 2, "offset_scale": 0.0}, "offset_scale > 0, got 0.0"),
        ({"groups": 2, "dw_kernel": 4}, "an odd dw_kernel, or None, got 4"),
        ({"groups": 2, "kernel": 1, "remove_center": True}, "kernel > 1 with remove_center, got 1"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        Dcnv4Config(dim=32, **options)


def test_groups_have_to_fill_the_channels() -> None:
    with pytest.raises(ConfigError, match="dim 24 divisible by group_dim, got 16"):
        config_at(BlockPosition(stage=0, block=0, dim=24, resolution=(8, 8)))


def test_it_compiles_to_one_graph() -> None:
    module = built(center_feature_scale=True)
    x = torch.randn(1, 5, 6, 32, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(torch.compile(module, fullgraph=True, backend="eager")(x), module(x), atol=1e-12)
