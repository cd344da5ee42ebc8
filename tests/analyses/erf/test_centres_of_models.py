"""Where the units of real models are: our stem and transitions, and timm's ways of making maps smaller."""

from __future__ import annotations

import pytest
import torch

from stmbench.analyses.erf.unit_location import Grid, grids, probe
from stmbench.analyses.stages import stages_of
from stmbench.architectures.catalog import create_model

MIXERS = ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")


def grids_of(name: str, height: int, width: int) -> list[Grid]:
    model = create_model(name).eval()
    maps, calls = probe(model, stages_of(model), torch.zeros(1, 3, height, width))
    return grids((height, width), [(m.shape[2], m.shape[3]) for m in maps], calls)


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize(("height", "width", "centre"), [(224, 224, (96.0, 96.0)), (200, 264, (96.0, 128.0))])
def test_no_mixer_moves_the_centre(mixer: str, height: int, width: int, centre: tuple[float, float]) -> None:
    found = grids_of(f"unified_{mixer}_nano", height, width)
    assert [grid.step for grid in found] == [(side, side) for side in (4.0, 8.0, 16.0, 32.0)]
    assert {grid.start for grid in found} == {(0.0, 0.0)}
    assert not any(grid.assumed for grid in found)
    assert found[-1].centre == centre


@pytest.mark.parametrize(
    ("model", "starts", "assumed"),
    [
        ("timm:resnet18", (0.0, 0.0, 0.0, 0.0), False),
        ("timm:convnext_atto", (1.5, 3.5, 7.5, 15.5), False),
        ("timm:tf_efficientnet_b0", (3.0, 7.0, 15.0, 31.0), False),  # TensorFlow's padding, on the right first
        ("timm:resnetblur50", (0.0, 0.0, 0.0, 0.0), False),  # blurs behind a padding by reflection
        ("timm:swin_tiny_patch4_window7_224", (1.5, 3.5, 7.5, 15.5), True),  # patches merged by reshaping
    ],
)
def test_timms_ways_of_making_maps_smaller(model: str, starts: tuple[float, ...], assumed: bool) -> None:
    found = grids_of(model, 224, 224)
    assert tuple(grid.start[0] for grid in found) == starts
    assert any(grid.assumed for grid in found) is assumed


@pytest.mark.parametrize(
    ("model", "size", "centres"),
    [
        # units of large maps are where the kernels' middle is; that of a 1x1 map is in the middle of the image
        ("unified_dw_conv_nano", 32, (16.0, 16.0, 16.0, 15.5)),
        ("unified_dw_conv_nano", 64, (32.0, 32.0, 32.0, 32.0)),
        ("timm:resnet18", 32, (16.0, 16.0, 15.5, 15.5)),
        ("timm:convnext_atto", 32, (17.5, 19.5, 23.5, 15.5)),
    ],
)
def test_units_of_small_maps_are_centred_on_what_they_reach(model: str, size: int, centres: tuple[float, ...]) -> None:
    assert tuple(grid.centre[0] for grid in grids_of(model, size, size)) == centres
