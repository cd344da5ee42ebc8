"""Models that nobody here wrote: timm's, against figures to keep and against PyTorch's own counter."""

from __future__ import annotations

import pytest
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from stmbench.architectures.meta_device import on_meta_device
from stmbench.measure.counting import count

# G multiply-adds at the default size, rounded as tables of models round them: a guard against regressions. What they
# are checked against is PyTorch's counter, below.
FIGURES = {
    "resnet18": 1.82,
    "resnet50": 4.09,
    "vgg16": 15.47,
    "densenet121": 2.87,
    "mobilenetv3_large_100": 0.219,
    "efficientnet_b0": 0.39,
    "regnety_016": 1.63,
    "convnext_tiny": 4.47,
    "deit_small_patch16_224": 4.6,
    "vit_tiny_patch16_224": 1.26,
    "swin_tiny_patch4_window7_224": 4.5,
    "mixer_s16_224": 3.79,
    "poolformer_s12": 1.82,
    "hrnet_w18_small": 1.61,
}
# PyTorch's counter has a formula for all that these multiply
PLAIN = ("resnet18", "mobilenetv3_large_100", "efficientnet_b0", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224")


def _model(name: str) -> tuple[torch.nn.Module, tuple[int, ...]]:
    with on_meta_device():
        model = timm.create_model(name)
    return model, model.default_cfg["input_size"]


@pytest.mark.parametrize("name", FIGURES)
def test_macs_equal_known_figures(name: str) -> None:
    model, size = _model(name)
    counted = count(model, size)
    assert counted.macs / 1e9 == pytest.approx(FIGURES[name], rel=0.015)
    assert counted.params == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", PLAIN)
def test_half_of_pytorchs_flops(name: str) -> None:
    model, size = _model(name)
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        model.eval()(torch.zeros(1, *size, device="meta"))
    assert 2 * count(model, size).macs == flops.get_total_flops()


@pytest.mark.parametrize(
    "name", ["convnextv2_tiny", "maxvit_tiny_tf_224", "xcit_tiny_12_p8_224", "mvitv2_tiny", "resnest50d", "nfnet_f0"]
)
def test_other_timm_models_are_counted(name: str) -> None:
    model, size = _model(name)
    assert count(model, size).macs > 1e9
