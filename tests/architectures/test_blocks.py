"""Blocks with an MLP and without one."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from stmbench.architectures.catalog import create_model
from stmbench.errors import ConfigError

NONE, SOME = r"an MLP ratio > 0", r"at least one hidden unit for dim \d+, or an MLP ratio of 0 for none"


def test_an_mlp_ratio_of_zero_leaves_the_mlp_out() -> None:
    model: Any = create_model("unified_dw_conv_nano[mlp_ratios=0-2-2-2,layer_scale=0.5]").eval()
    block = model.stages[0].blocks[0]
    x = torch.randn(2, 5, 7, 16)
    with torch.inference_mode():
        assert torch.allclose(block(x), x + 0.5 * block.mixer(block.norm1(x)), atol=1e-6)
    assert not [name for name, _ in block.named_parameters() if "mlp" in name or "norm2" in name]
    names = (f"unified_dw_conv_nano[mlp_ratios={first}-4-4-4]" for first in (0, 4))
    counts, of_whole = (cast(Any, create_model(name)).macs(32, 32) for name in names)
    assert of_whole["mlps"] - counts["mlps"] == 2 * 8 * 8 * 2 * 16 * 64  # blocks, tokens, layers, channels, hidden
    assert {**counts, "mlps": 0} == {**of_whole, "mlps": 0}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("isotropic_dw_conv_nano[mlp_ratio=-1]", f"{SOME}, got -1"),
        ("unified_dw_conv_nano[mlp_ratios=0.01-4-4-4]", f"{SOME}, got 0.01"),
        ("unified_dw_conv_nano[mlp_ratios=4-4-4-0,design=D]", f"{NONE} for this architecture and design, got 0"),
        ("container_dw_conv_nano[mlp_ratios=4-4-4-0]", f"{NONE} for this architecture and design, got 0"),
    ],
)
def test_ratios_that_no_block_can_have_are_refused(name: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        create_model(name)
