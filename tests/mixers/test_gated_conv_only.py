"""MambaOut's token mixer: timm's block without its norm and residual, and what the config refuses."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from timm.models.mambaout import GatedConvBlock
from torch import nn

from stmbench.architectures.catalog import create_model
from stmbench.architectures.meta_device import on_meta_device
from stmbench.checkpoints import load_checkpoint
from stmbench.errors import ConfigError
from stmbench.mixers.gated_conv_only import GatedConvOnly, GatedConvOnlyConfig


def _mixer(dim: int = 48, **options: Any) -> GatedConvOnly:
    return GatedConvOnly(GatedConvOnlyConfig(dim=dim, **options))


@pytest.mark.parametrize(
    "options",
    [{}, {"conv_ratio": 0.5, "kernel": 5}, {"expansion": 2.0, "conv_ratio": 2.0}],  # the last convolves all of them
)
def test_it_is_timms_block_without_norm_and_residual(options: dict[str, Any]) -> None:
    named = {"expansion": "expansion_ratio", "kernel": "kernel_size", "conv_ratio": "conv_ratio"}
    block = GatedConvBlock(48, ls_init_value=0.5, **{named[key]: value for key, value in options.items()})
    theirs = block.double().eval()
    ours = _mixer(**options).double()
    load_checkpoint(ours, theirs.state_dict())
    theirs.norm, theirs.ls = nn.Identity(), nn.Identity()
    x = torch.randn(2, 9, 13, 48, dtype=torch.float64)
    with torch.inference_mode():
        assert torch.allclose(ours(x), theirs(x) - x, rtol=0, atol=1e-12)


def test_the_authors_layout_has_the_blocks_of_their_tiny_network() -> None:
    with on_meta_device():
        theirs: Any = timm.create_model("mambaout_tiny")
        ours: Any = create_model("unified_gated_conv_only_tiny[layout=authors]")
    for stage, own in zip(theirs.stages, ours.stages, strict=True):
        scales = sum(block.branch1.scale.numel() for block in own.blocks)  # the unified architecture's layer scale
        expected = sum(p.numel() for p in stage.blocks.parameters())
        assert sum(p.numel() for p in own.blocks.parameters()) - scales == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kernel": 6}, "an odd kernel"),
        ({"expansion": 0.01}, "dim x expansion >= 1"),
        ({"conv_ratio": 3.0}, "1 to 128 convolved channels"),
        ({"conv_ratio": 0.0}, "1 to 128 convolved channels"),
    ],
)
def test_impossible_configs_are_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        GatedConvOnlyConfig(**{"dim": 48, **changes})


def test_it_compiles_to_one_graph() -> None:
    mixer, x = _mixer(), torch.randn(2, 7, 9, 48)
    compiled = torch.compile(mixer, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(x), mixer(x), atol=1e-6)
