"""Names of detectors: parsed, printed again, refused; and what `create_model` makes of them."""

from __future__ import annotations

import pytest

from stmbench.analyses.models import facts_of, mixer_facts, packages_of, plugin_hashes
from stmbench.architectures.catalog import ModelName, create_model, list_models
from stmbench.architectures.given_models import fingerprints_of, model_name_of
from stmbench.checkpoints.families import published_file_stems
from stmbench.errors import InputError


@pytest.mark.parametrize(
    ("text", "detector", "mixer", "backbone", "title"),
    [
        (
            "maskrcnn:unified_sr_attn_nano[min_size=64,head_dim=8]",
            "maskrcnn",
            "sr_attn",
            "unified_sr_attn_nano[head_dim=8]",
            "Spatial Reduction Attention · Unified architecture · nano · Mask R-CNN",
        ),
        ("fasterrcnn:timm:resnet18", "fasterrcnn", None, "timm:resnet18", "resnet18 · timm · Faster R-CNN"),
        (
            "retinanet:cotnet50[num_classes=3]",
            "retinanet",
            "cot",
            "cotnet50",
            "Contextual Transformer Block · CoTNet architecture (ResNet) · RetinaNet",
        ),
        ("cotnet50[cot_dim=1]", None, "cot", "cotnet50[cot_dim=1]", None),
    ],
)
def test_a_detector_goes_before_its_backbone(
    text: str, detector: str | None, mixer: str | None, backbone: str, title: str | None
) -> None:
    name = ModelName.parse(text)
    assert (name.detector, name.mixer, name.backbone) == (detector, mixer, backbone)
    assert ModelName.parse(name.with_options()).options == name.options
    assert name.base == text.partition("[")[0]
    assert title is None or name.title == title


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("maskrcn:unified_sr_attn_nano", "expected a detector, got 'maskrcn'; did you mean maskrcnn"),
        ("maskrcnn:unified_sr_atn_nano", "sr_attn"),
        ("maskrcnn:retinanet:cotnet50", "expected one detector and its backbone"),
        ("maskrcnn:unified_sr_attn_nano[halo=1]", "an option of unified_sr_attn"),
        ("maskrcnn:unified_sr_attn_nano[min_size=8]", "expected min_size >= 32, got 8"),
        ("maskrcnn:unified_sr_attn_nano[min_size=x]", "expected min_size in pixels, got 'x'"),
        ("maskrcnn:unified_sr_attn_nano[heads=x]", "expected heads torchvision or mmdet, got 'x'"),
        ("maskrcnn:unified_sr_attn_nano[trunk=x]", "expected trunk authors or classification, got 'x'"),
        ("maskrcnn:unified_sr_attn_nano[num_classes=0]", "expected num_classes >= 1, got 0"),
        ("retinanet:unified_sr_attn_nano[proposals=5]", "an option of unified_sr_attn"),
        ("maskrcnn:isotropic_self_attn_nano", "expected a backbone with four stages of strides 4, 8, 16, 32, got str"),
        ("maskrcnn:timm:vit_tiny_patch16_224", "expected a backbone with four stages of strides 4, 8, 16, 32, got str"),
    ],
)
def test_a_mistake_is_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        create_model(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_patterns_choose_backbones() -> None:
    assert "maskrcnn:unified_dw_conv_nano" in list_models("maskrcnn:unified_*_nano")
    assert list_models("retinanet:cotnet50") == ["retinanet:cotnet50"]
    assert not [name for name in list_models() if name.startswith("maskrcnn")]


def test_what_a_detector_depends_on_is_its_backbones() -> None:
    module = create_model("cotnet_cot_nano")
    given = model_name_of(module)
    names = [f"maskrcnn:{given}", "fasterrcnn:unified_sr_attn_nano"]
    assert plugin_hashes(names) == fingerprints_of([given])
    software = {"timm": "1", "torchvision": "2", "torch": "3"}
    assert packages_of(names, software) == {"torchvision": "2"}
    assert packages_of(["retinanet:timm:resnet18"], software) == {"timm": "1", "torchvision": "2"}
    assert packages_of(["timm:resnet18", "cotnet50"], software) == {"timm": "1"}
    assert facts_of(names[1]).mixer == "sr_attn"
    assert mixer_facts([names[0]])[names[0]]["family"] == ""
    assert published_file_stems(ModelName.parse("unified_dw_conv_tiny"))
    assert published_file_stems(ModelName.parse("maskrcnn:unified_dw_conv_tiny")) == []


def test_the_image_size_follows_the_backbones_scale() -> None:
    small = create_model("fasterrcnn:unified_dw_conv_nano", num_classes=2)
    assert (small.transform.min_size, small.transform.max_size, small.num_classes) == ((128,), 213, 2)
    given = create_model("fasterrcnn:unified_dw_conv_nano[min_size=64]", drop_path_rate=0.3)
    assert (given.transform.min_size, given.transform.max_size, given.num_classes) == ((64,), 107, 80)
    assert given.trunk.config.drop_path_rate == 0.3
