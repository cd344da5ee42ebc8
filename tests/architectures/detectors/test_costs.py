"""Multiply-adds and parameters of detectors against published figures and formulas."""

from __future__ import annotations

import pytest
import torch

from stmbench.analyses.models import meta_model
from stmbench.analyses.profile.costs import detector_costs

# Gao et al.'s Table 4: their detectors' trunk has MLP ratio 4 in all stages, and figures are at 800 x 1280
LIGHT = "container_v1_light[mlp_ratios=4-4-4-4,heads=mmdet]"


@pytest.mark.parametrize(
    ("name", "gmacs", "mparams"),
    [
        (f"maskrcnn:{LIGHT}", 237, 39.6),
        (f"retinanet:{LIGHT}", 218, 29.7),
        # theirs has 37.7 M parameters: 0.225 M, of the stem and the first stage, are frozen and not counted
        ("retinanet:timm:resnet50[heads=mmdet]", 239, 37.7 + 0.225),
    ],
)
def test_the_papers_figures(name: str, gmacs: float, mparams: float) -> None:
    model = meta_model(name)
    assert sum(part.macs for part in detector_costs(model, 800, 1280).values()) / 1e9 == pytest.approx(gmacs, rel=0.01)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(mparams, rel=0.005)


def test_parts_of_a_small_cascade() -> None:
    model = meta_model(
        "cascade-maskrcnn:unified_dw_conv_nano[width=16,num_classes=3,proposals=7,norm=none,box_convs=0]"
    )
    costs = detector_costs(model, 64, 90)
    macs = {part: tally.macs for part, tally in costs.items()}
    positions = [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]  # 90 is padded to 96
    tokens = [height * width for height, width in positions]
    assert list(macs) == ["backbone", "pyramid", "proposals", "boxes", "masks"]
    dims = (16, 32, 64, 128)
    assert macs["pyramid"] == sum(n * 16 * (dim + 9 * 16) for n, dim in zip(tokens[:4], dims, strict=True))
    assert macs["proposals"] == sum(tokens) * 16 * (9 * 16 + 3 * 5)
    assert macs["boxes"] == 3 * 7 * (16 * 49 * 64 + 64 * 64 + 64 * (4 + 4))
    assert macs["masks"] == 3 * 100 * (196 * 4 * 9 * 256 + 196 * 4 * 256 + 784 * 16 * 4)
    # a head that is called for several levels or regions has its parameters once, and reads its weights once a call
    assert costs["proposals"].params == 16 * 9 * 16 + 16 + (16 + 1) * 3 * 5
    hidden = 16 * 49 * 64 + 64 + 64 * 64 + 64
    assert costs["boxes"].params == 3 * (hidden + (64 + 1) * (4 + 4))
    assert sum(tally.params for tally in costs.values()) == sum(p.numel() for p in model.parameters())
    assert costs["boxes"].elements_moved < 7 * 3 * 4 * (16 * 49 + 4 * 64) + 2 * costs["boxes"].params


def test_counting_leaves_the_detector_as_it_was() -> None:
    model = meta_model("retinanet:unified_dw_conv_nano").train()
    assert list(detector_costs(model, 64, 64)) == ["backbone", "pyramid", "heads"]
    assert model.training
    assert model.backbone.body.training
    assert all(parameter.device == torch.device("meta") for parameter in model.parameters())
