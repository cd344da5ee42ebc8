"""Inception depthwise convolution: the authors' numbers, timm's module, and what the config refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models.inception_next import InceptionDWConv2d

from stmbench.checkpoints import load_checkpoint
from stmbench.errors import ConfigError
from stmbench.mixers.inception_dw_conv import InceptionDwConv, InceptionDwConvConfig
from tests.mixers.golden import check_golden


def _mixer(dim: int = 64, **options: Any) -> InceptionDwConv:
    return InceptionDwConv(InceptionDwConvConfig(dim=dim, **options))


@pytest.mark.parametrize("name", ["inception_dw", "inception_dw_timm"])
def test_it_is_the_authors(name: str) -> None:
    check_golden(name, lambda height, width: _mixer())


@pytest.mark.parametrize(
    ("dim", "options"),
    [(64, {}), (44, {}), (48, {"square": 5, "band": 7, "ratio": 0.25})],  # 44: 5 channels a branch, rounded down
)
def test_it_is_timms(dim: int, options: dict[str, Any]) -> None:
    named = {"square": "square_kernel_size", "band": "band_kernel_size", "ratio": "branch_ratio"}
    theirs = InceptionDWConv2d(dim, **{named[key]: value for key, value in options.items()}).double().eval()
    ours = _mixer(dim, **options).double()
    load_checkpoint(ours, theirs.state_dict())
    x = torch.randn(2, 9, 13, dim, dtype=torch.float64)
    with torch.inference_mode():
        expected = theirs(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        assert torch.allclose(ours(x), expected, rtol=0, atol=1e-12)


def test_most_channels_are_left_as_they_are() -> None:
    x = torch.randn(1, 5, 5, 64)
    y = _mixer()(x)
    assert torch.equal(y[..., :40], x[..., :40])
    assert not (y[..., 40:] == x[..., 40:]).any()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dim": 7}, "dim x ratio >= 1"),
        ({"band": 10}, "an odd band"),
        ({"square": 0}, "an odd square"),
        ({"ratio": 0.4}, "ratio <= 1/3"),
    ],
)
def test_impossible_configs_are_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        InceptionDwConvConfig(**{"dim": 64, **changes})


def test_it_compiles_to_one_graph() -> None:
    mixer, x = _mixer(), torch.randn(2, 7, 9, 64)
    compiled = torch.compile(mixer, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), mixer(x))
