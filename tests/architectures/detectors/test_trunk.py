"""Backbones as trunks: what is changed, what stays, and their classification weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stmbench.architectures.catalog import create_model
from stmbench.architectures.detectors.trunk import Body, attach, load_trunk
from stmbench.architectures.layers import resized_position
from stmbench.errors import CheckpointError, ConfigError
from stmbench.plugins.loading import load_plugin
from stmbench.registry import recorded
from tests.architectures.detectors.test_kinds import detector


def _attached(name: str, form: str = "authors") -> Body:
    torch.manual_seed(0)
    return attach(lambda **options: create_model(name, **options), form).eval()  # type: ignore[arg-type]


def _visible(model: nn.Module) -> nn.Module:
    """A model whose layer scales hide nothing."""
    for name, parameter in model.named_parameters():
        if name.endswith(".scale"):
            nn.init.ones_(parameter)
    return model


@pytest.mark.parametrize(
    ("name", "norms"),
    [
        ("unified_halo_attn_nano", 4),
        ("unified_sr_attn_nano[design=C]", 4),
        ("container_container_nano", 4),
        ("cotnet_cot_nano", 0),
        ("cotnet_sr_attn_nano", 0),  # a LayerNorm inside a mixer says nothing of the trunk
        ("timm:resnet18", 0),
        ("timm:convnext_atto", 4),
    ],
)
def test_maps_of_any_size(name: str, norms: int) -> None:
    body = _attached(name)
    assert len(body.norms) == norms
    with torch.inference_mode():
        for height, width in ((96, 64), (160, 224)):
            maps = body(torch.randn(1, 3, height, width))
            shapes = [(1, c, height // s, width // s) for c, s in zip(body.channels, (4, 8, 16, 32), strict=True)]
            assert [tuple(x.shape) for x in maps] == shapes
            for x in maps if norms else []:
                torch.testing.assert_close(x.mean(1), torch.zeros_like(x[:, 0]), atol=1e-4, rtol=0)


def test_the_authors_form_passes_on_maps_without_norm() -> None:
    model = _visible(create_model("unified_dw_conv_nano")).eval()
    body = _attached("unified_dw_conv_nano")
    left = load_trunk(body, model.state_dict())
    assert {name.partition(".norm.")[0] for name in left if ".norm." in name} == {
        *(f"stages.{index}" for index in range(4)),
        "head",
    }
    image = torch.randn(1, 3, 64, 64)
    x = model.stem(image)
    with torch.inference_mode():
        for index, stage in enumerate(model.stages):
            x = model.transitions[index - 1](x) if index else x
            for block in stage.blocks:
                x = block(x)
            expected = body.norms[index](x).permute(0, 3, 1, 2)
            torch.testing.assert_close(body(image)[index], expected)


def test_the_authors_form_keeps_positions_out_of_the_residual_stream() -> None:
    body = _attached("unified_sr_attn_nano")
    trunk = _visible(body.trunk)
    stage = trunk.stages[0]
    x, block = torch.randn(1, 10, 12, 16), stage.blocks[0]
    position = resized_position(stage.position, 10, 12)
    with torch.no_grad():
        y = x + block.mixer(block.norm1(x + position))
        y = y + block.mlp(block.norm2(y))
        torch.testing.assert_close(stage(x), stage.blocks[1](y))
        trunk.train()
        for drop in (block.branch1, block.branch2):
            drop.drop_path.drop_prob = 0.0
    trunk.set_grad_checkpointing()
    torch.testing.assert_close(stage(x), stage.blocks[1](y))


def test_the_classification_form_is_the_classification_model() -> None:
    model = create_model("unified_sr_attn_nano").eval()
    body = _attached("unified_sr_attn_nano", "classification")
    left = load_trunk(body, model.state_dict())
    assert left
    assert all(name.startswith("head.") for name in left)
    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        for ours, theirs in zip(body(image), model.forward_intermediates(image, intermediates_only=True), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", ["timm:resnet18", "container_container_nano", "cotnet_cot_nano"])
def test_classification_weights_of_any_backbone(name: str) -> None:
    model = create_model(name)
    body = _attached(name)
    assert all(
        "fc" in key or "head" in key or key.startswith("stages.3.norm.") for key in load_trunk(body, model.state_dict())
    )
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in body.trunk.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("stem.conv1.weight"), "1 missing (stem.conv1.weight ...)"),
        (lambda state: state.update(other=torch.zeros(1)), "1 unexpected (other ...)"),
        (lambda state: state.update({"stem.conv1.weight": torch.zeros(1)}), "1 misshapen (stem.conv1.weight ...)"),
    ],
)
def test_other_weights_are_refused(change: object, message: str) -> None:
    model = detector("fasterrcnn")
    before = {name: value.clone() for name, value in model.trunk.state_dict().items()}
    state: dict[str, Tensor] = create_model("unified_dw_conv_nano").state_dict()
    change(state)  # type: ignore[operator]
    with pytest.raises(CheckpointError, match="expected the") as caught:
        load_trunk(model, state)
    assert message in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in model.trunk.state_dict().items())


def test_a_model_without_stages_is_refused() -> None:
    with pytest.raises(ConfigError, match="four stages of strides 4, 8, 16, 32, got Linear without stages"):
        attach(lambda **_: nn.Linear(1, 1), "authors")


@pytest.fixture
def plugin() -> Iterator[str]:
    with recorded() as registered:
        load_plugin(Path(__file__).parents[3] / "examples" / "my_mixer.py")
    yield "unified_strip_modulation_nano"
    for registry, name in registered:
        registry.unregister(name)


def test_a_plugins_mixer_is_in_a_detector(plugin: str) -> None:
    model = detector("retinanet", plugin).eval()
    assert len(model.trunk.mixers()) == 8
    assert len(model([torch.rand(3, 40, 64)])[0]["boxes"]) == 0
