"""timm knows our models, and they answer to its interface."""

from __future__ import annotations

import subprocess
import sys

import pytest
import timm
import torch

import stmbench
from stmbench.mixers import BUILTIN
from stmbench.mixers.base import SCALES

MIXERS = ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")
ORDERS = (
    "import stmbench, timm; from timm import create_model",
    "import timm; from timm import create_model; import stmbench",
    "import stmbench; import timm.data; import timm; create_model = timm.create_model",
)


@pytest.mark.parametrize("imports", ORDERS)
def test_timm_learns_our_names_in_either_order(imports: str) -> None:
    classes = "create_model('unified_dw_conv_nano[num_classes=5]').num_classes"
    code = f"{imports}; print(timm.is_model('unified_halo_attn_tiny'), len(timm.list_models('unified_*')), {classes})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", str(len(SCALES) * len(BUILTIN)), "5"]


@pytest.mark.parametrize("module", ["architectures.unified", "architectures.cotnet", "architectures.blocks"])
def test_a_module_of_ours_may_be_what_imports_timm(module: str) -> None:
    code = f"import stmbench.{module}, timm; stmbench.create_model('cotnet_cot_nano'); print(timm.is_model('cotnet50'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]


def test_options_in_brackets() -> None:
    model = timm.create_model("unified_dw_conv_nano[kernel=5,layer_scale=0.5]", num_classes=3)
    assert model.stages[0].blocks[0].mixer.conv.kernel_size == (5, 5)
    assert float(model.stages[0].blocks[0].branch1.scale[0].detach()) == 0.5
    assert model.num_classes == 3
    assert timm.create_model("cotnet_cot_nano[num_classes=7]", num_classes=4).num_classes == 4, "arguments win"
    features = timm.create_model("unified_dw_conv_nano[dims=8-16-32-64]", features_only=True)
    assert features.feature_info.channels() == [8, 16, 32, 64]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("unified_dw_conv_nano[window=7]", stmbench.errors.ConfigError, "an option of unified_dw_conv .* got 'window'"),
        ("unified_dw_conv_nano[kernel", stmbench.errors.InputError, r"name\[key=value,key=value\]"),
        ("resnet18[window=7]", RuntimeError, "Unknown model"),
        ("unified_nothing_nano[halo=1]", RuntimeError, "Unknown model"),
    ],
)
def test_bad_options_in_brackets(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        timm.create_model(name)


def test_names_of_timm_keep_their_tags() -> None:
    assert timm.create_model("resnet18.a1_in1k").pretrained_cfg["tag"] == "a1_in1k"


@pytest.mark.parametrize("mixer", MIXERS)
def test_options_of_timm(mixer: str) -> None:
    model = timm.create_model(f"unified_{mixer}_nano", num_classes=7, in_chans=1, img_size=64, drop_path_rate=0.1)
    assert model(torch.randn(2, 1, 64, 64)).shape == (2, 7)
    assert model.stages[-1].blocks[-1].branch1.drop_path.drop_prob == pytest.approx(0.1)
    model.reset_classifier(3)
    assert model(torch.randn(1, 1, 64, 64)).shape == (1, 3)
    assert model.forward_head(model.forward_features(torch.randn(1, 1, 64, 64)), pre_logits=True).shape == (1, 192)


@pytest.mark.parametrize("mixer", MIXERS)
def test_features_only(mixer: str) -> None:
    model = timm.create_model(f"unified_{mixer}_nano", features_only=True, out_indices=(1, 3))
    maps = model(torch.randn(1, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(1, 32, 8, 12), (1, 128, 2, 3)]
    assert model.feature_info.channels() == [32, 128]
    assert model.feature_info.reduction() == [8, 32]


@pytest.mark.parametrize("mixer", MIXERS)
def test_gradient_checkpointing_changes_nothing_but_memory(mixer: str) -> None:
    torch.manual_seed(0)
    model, images = (
        timm.create_model(f"unified_{mixer}_nano", num_classes=5).double().train(),
        torch.randn(2, 3, 32, 32),
    )
    gradients = []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.zero_grad()
        model(images.double()).square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-15) for a, b in zip(*gradients, strict=True))


def test_no_weight_decay_names_tables_and_scales() -> None:
    names = stmbench.create_model("unified_halo_attn_nano").no_weight_decay()
    parameters = dict(stmbench.create_model("unified_halo_attn_nano").named_parameters())
    assert names <= parameters.keys()
    assert "stages.0.blocks.0.mixer.height_rel" in names
    assert "stages.0.blocks.0.branch1.scale" in names
    assert "stages.0.position" in stmbench.create_model("unified_sr_attn_nano").no_weight_decay()


def test_pretrained_points_to_load_checkpoint() -> None:
    with pytest.raises(stmbench.errors.CheckpointError, match="load_checkpoint"):
        timm.create_model("unified_halo_attn_nano", pretrained=True)


@pytest.mark.parametrize(
    ("name", "size", "crop"),
    [
        ("unified_identity_nano", (3, 32, 32), 1.0),
        ("unified_identity_nano[img_size=96]", (3, 96, 96), 0.875),
        ("unified_mlp_nano[img_size=64]", (3, 64, 64), 0.875),
    ],
)
def test_images_are_made_for_the_design_size(name: str, size: tuple[int, int, int], crop: float) -> None:
    """A model of 96 px that was shown images of 32 px would be another experiment, and nobody would see it."""
    cfg = stmbench.create_model(name).default_cfg
    assert (cfg["input_size"], cfg["crop_pct"]) == (size, crop)
