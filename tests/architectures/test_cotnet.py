"""The cotnet architecture: the authors' counts, any mixer at any size, and stages that keep their convolution."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch

from stmbench.architectures.catalog import create_model
from stmbench.architectures.meta_device import on_meta_device
from stmbench.errors import ConfigError
from stmbench.measure.counting import count

# parameters, G multiply-adds at 224 with the local aggregation, measured on the authors' models
AUTHORS = {
    "cotnet50": (22_222_416, 3.243),
    "cotnext50_2x48d": (30_046_276, 4.255),
    "cotnet101": (38_272_048, 6.050),
    "cotnext101_2x48d": (53_346_068, 8.073),
    "se_cotnetd_50": (23_107_784, 4.048),
    "se_cotnetd_101": (40_912_392, 8.436),
    "se_cotnetd_152": (55_783_688, 12.899),
}
MIXERS = ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3", "cot", "coxt", "container", "mlp", "identity")


def _meta(name: str, **options: Any) -> Any:
    with on_meta_device():
        return create_model(name, **options)


@pytest.mark.parametrize("name", AUTHORS)
def test_parameters_exactly_and_multiply_adds_to_half_a_percent(name: str) -> None:
    params, gmacs = AUTHORS[name]
    model = _meta(name)
    assert sum(p.numel() for p in model.parameters()) == params
    assert sum(model.macs(224, 224).values()) / 1e9 == pytest.approx(gmacs, rel=0.005)


@pytest.mark.parametrize("name", ["cotnet50", "cotnext50_2x48d", "se_cotnetd_50", "se_cotnetd_152"])
def test_the_counter_agrees_with_the_formulas(name: str) -> None:
    model = _meta(name)
    for size in ((224, 224), (256, 320)):
        counts, formulas = count(model, (3, *size), parts=model.parts), model.macs(*size)
        assert {part: counts.parts[part].macs for part in formulas} == formulas
        assert counts.macs == sum(formulas.values())


@pytest.mark.parametrize("mixer", MIXERS)
def test_any_mixer_at_any_size(mixer: str) -> None:
    model = create_model(f"cotnet_{mixer}_nano", num_classes=7).eval()
    for size in ((32, 32), (33, 47), (64, 96)):
        with torch.inference_mode():
            features, maps = model.forward_intermediates(torch.rand(2, 3, *size))
        assert model.forward_head(features).shape == (2, 7)
        assert [tuple(m.shape[2:]) for m in maps] == model.config.maps(*size)


def test_subsets_of_stages_keep_their_convolution() -> None:
    whole = [position.stage for position, _, _ in _meta("cotnet_cot_tiny").mixers()]
    assert whole == [0] * 3 + [1] * 4 + [2] * 6 + [3] * 3
    assert {position.stage for position, _, _ in _meta("cotnet_cot_tiny[replaced=4-5]").mixers()} == {2, 3}
    assert {position.stage for position, _, _ in _meta("cotnet_cot_tiny[replaced=5]").mixers()} == {3}
    alternate = [(position.stage, position.block) for position, _, _ in _meta("se_cotnetd_50").mixers()]
    assert alternate == [(2, 0), (2, 2), (2, 4), (3, 0), (3, 1), (3, 2)]
    plain = _meta("cotnet_cot_tiny", replaced=())
    # a ResNet-50 with its parameters
    assert sum(p.numel() for p in plain.parameters()) == 25_557_032


def test_a_block_without_mixer_is_timms_bottleneck() -> None:
    model = create_model("cotnet_cot_tiny", replaced=(), num_classes=10).double().eval()
    theirs = timm.create_model("resnet50", num_classes=10).double().eval()
    with torch.no_grad():
        pairs = [(model.stem.conv1, theirs.conv1), (model.stem.norm, theirs.bn1), (model.head.fc, theirs.fc)]
        for stage, layer in zip(
            model.stages, (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4), strict=True
        ):
            for block, other in zip(stage.blocks, layer, strict=True):
                pairs += [(block.conv1, other.conv1), (block.norm1, other.bn1), (block.conv3, other.conv3)]
                pairs += [(block.norm3, other.bn3), (block.spatial.conv, other.conv2), (block.spatial.norm, other.bn2)]
                if other.downsample is not None:
                    pairs += [(block.shortcut[0], other.downsample[0]), (block.shortcut[1], other.downsample[1])]
        for mine, other in pairs:
            mine.load_state_dict(other.state_dict())
        image = torch.rand(1, 3, 96, 128, dtype=torch.float64)
        assert torch.allclose(model(image), theirs(image), rtol=1e-10, atol=1e-12)


def test_nonsense_is_refused() -> None:
    for changes in ({"replaced": (1,)}, {"pooling": "max"}, {"depths": (1, 1)}, {"kernel": 3}, {"key_groups": 5}):
        with pytest.raises(ConfigError):
            create_model("cotnet_cot_nano", **changes)
