"""Windows, kernels and regions far beyond the map are refused; what small maps have always been padded to is not."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from stmbench.architectures.catalog import create_model
from stmbench.errors import ConfigError
from stmbench.mixers.base import MIXERS, BlockPosition

OPTIONS = {
    "halo_attn": ("window", "halo"), "sw_attn": ("window",), "maxvit_attn": ("window",),
    "neighborhood_attn": ("kernel",), "routing_attn": ("regions",),
}  # fmt: skip
CASES = [(mixer, option) for mixer, options in OPTIONS.items() for option in options]


def built(mixer: str, side: int, block: int = 1, **options: Any) -> Any:
    position = BlockPosition(stage=2, block=block, dim=64, resolution=(side, side))
    return MIXERS.get(mixer).build(position, **{"head_dim": 32, **options})


@pytest.mark.parametrize(("mixer", "option"), CASES)
def test_what_would_more_than_double_the_map_is_refused_in_one_line(mixer: str, option: str) -> None:
    with pytest.raises(ConfigError) as caught:
        built(mixer, 14, **{option: 99})
    assert str(caught.value) == (
        f"expected {option} <= 28 for a map of 14 x 14, which would be padded to it, got 99; "
        "use a smaller one, or larger images (img_size=)"
    )


@pytest.mark.parametrize(("mixer", "option"), CASES)
@pytest.mark.parametrize(("side", "value"), [(1, 7), (1, 13), (4, 7), (14, 27)])
def test_small_maps_are_padded_as_before(mixer: str, option: str, side: int, value: int) -> None:
    x = torch.zeros(1, side, side, 64)
    assert built(mixer, side, **{option: value})(x).shape == x.shape


@pytest.mark.parametrize(("dilation", "expected"), [(None, 2), (1, 1), (2, 2), (100, 2)])
def test_a_dilation_goes_as_far_as_the_map(dilation: int | None, expected: int) -> None:
    module = built("neighborhood_attn", 14, dilation=dilation)
    assert module.config.dilation == expected
    assert module.macs(14, 14) == built("neighborhood_attn", 14, block=0).macs(14, 14)  # nothing is padded


@pytest.mark.parametrize("name", ["neighborhood_attn_micro[kernel=99]", "routing_attn_micro[regions=100]"])
def test_a_model_with_such_an_option_is_not_built(name: str) -> None:
    with pytest.raises(ConfigError, match=re.escape("larger images (img_size=)")):
        create_model(f"unified_{name}")


@pytest.mark.parametrize("mixer", OPTIONS)
@pytest.mark.parametrize("scale", ["nano", "micro"])
def test_the_usual_networks_take_small_images(mixer: str, scale: str) -> None:
    assert create_model(f"unified_{mixer}_{scale}[img_size=32]").eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)
