"""Affinity by the Jacobian of mixers that a path pattern names in a model given as an object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.swin_transformer import SwinTransformer

from stmbench.analyses.affinity.analysis import AffinityAnalysis
from stmbench.analyses.affinity.layers import layers_of
from stmbench.analyses.affinity.options import AffinityConfig
from stmbench.analyses.images import ImageRequest
from stmbench.architectures.catalog import create_model
from stmbench.architectures.given_models import model_name_of
from stmbench.errors import InputError
from stmbench.tables import Store
from tests.architectures.given_networks import Plain, TokenNetwork


def request(*names: str) -> ImageRequest:
    return ImageRequest(models=names, dataset="digits", num_images=2)


def places(module: nn.Module, size: int = 32, **options: Any) -> list[tuple[Any, ...]]:
    name = model_name_of(module, input_size=size, **options)
    layers = layers_of(create_model(name), name, (size, size))
    assert [layer.number for layer in layers] == list(range(1, len(layers) + 1))
    return [(x.path, x.stage, x.block, x.height, x.width, x.prefix) for x in layers]


def test_layers_of_a_pattern() -> None:
    assert places(TokenNetwork(), mixer="layers.*.attention") == [
        ("layers.0.attention", 0, 0, 4, 4, 1),
        ("layers.1.attention", 0, 1, 4, 4, 1),
    ]
    resnet = ResNet(BasicBlock, [2, 1, 1, 1], num_classes=4)
    assert places(resnet, mixer="layer[12].*.conv2") == [
        ("layer1.0.conv2", 0, 0, 8, 8, 0),
        ("layer1.1.conv2", 0, 1, 8, 8, 0),
        ("layer2.0.conv2", 1, 0, 4, 4, 0),
    ]
    swin = SwinTransformer([4, 4], embed_dim=8, depths=[2, 1], num_heads=[1, 1], window_size=[4, 4], num_classes=4)
    assert places(swin, mixer="features.*.*.attn") == [
        ("features.1.0.attn", 0, 0, 8, 8, 0),
        ("features.1.1.attn", 0, 1, 8, 8, 0),
        ("features.3.0.attn", 1, 0, 4, 4, 0),
    ]


class Torchs(nn.Module):
    """torch's own attention, which takes its input three times and returns a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 8, stride=8)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.fc = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 10)."""
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        y, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        logits: Tensor = self.fc(y.mean(1))
        return logits


def shown(folder: Path, name: str, **settings: Any) -> tuple[Any, dict[str, Any]]:
    config = AffinityConfig(layers=("last",), positions=(5,), **settings)
    analysis = AffinityAnalysis(config, request(name), Store(folder))
    report = analysis.run()
    assert report.failures == []
    frame = Store(folder).read(report.keys)
    assert set(frame["definition"]) == {"affinity.jacobian.v1"}
    (path,) = folder.glob("parts/*maps.npz")
    with np.load(path) as file:
        return frame, dict(file)


@pytest.mark.parametrize(
    ("kind", "pattern", "prefix"), [(TokenNetwork, "layers.*.attention", 1), (Torchs, "attention", 0)]
)
def test_the_map_is_the_norm_of_the_jacobian(kind: Any, pattern: str, prefix: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    name = model_name_of(kind(), mixer=pattern, input_size=32)
    frame, arrays = shown(tmp_path, name)
    assert set(frame["condition"].dropna()) == {"jacobian of mixer", "jacobian"}

    analysis = AffinityAnalysis(AffinityConfig(), request(name), Store(tmp_path))
    loaded = analysis.loaded_model(name)
    (batch,) = analysis.pixel_batches(loaded)
    inputs: list[Tensor] = []
    path = pattern.replace("*", "1")

    def keep(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        inputs.append((*arguments, *named.values())[0])

    module = loaded.model.get_submodule(path)
    handle = module.register_forward_pre_hook(keep, with_kwargs=True)
    loaded.logits(batch.images)
    handle.remove()
    wanted = []
    for tokens in inputs[0].clone():

        def function(x: Tensor) -> Tensor:
            arguments = (x[None],) * (3 if kind is Torchs else 1)
            return module(*arguments)[0][0, prefix + 5]  # type: ignore[no-any-return]

        found = torch.autograd.functional.jacobian(function, tokens)  # C, N, C
        norms = found.square().sum((0, 2)).sqrt()[prefix:]
        wanted.append(norms / norms.sum())
    number = 2 if kind is TokenNetwork else 1
    np.testing.assert_allclose(arrays[f"layer{number}.jacobian"][0, 0, 0], torch.stack(wanted).mean(0), rtol=1e-4)


def test_a_timm_vit_and_its_blocks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vit = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, embed_dim=24, num_heads=2, num_classes=4
    )
    name = model_name_of(vit, mixer="blocks.*.attn")
    _, attention = shown(tmp_path / "mixer", name)
    _, block = shown(tmp_path / "block", name, jacobian="block")
    assert attention["layer2.jacobian"].shape == block["layer2.jacobian"].shape == (1, 1, 1, 16)
    assert block["layer2.jacobian"][0, 0, 0].argmax() == 5, "the residual"


def test_mixers_that_are_not_named_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"got module:Plain-\w+; give a pattern of their paths: GivenModel\(module=..., "
    ):
        AffinityAnalysis(AffinityConfig(), request(model_name_of(Plain(), input_size=32)), Store(tmp_path)).run()


def test_a_model_of_ours_keeps_its_affinities(tmp_path: Path) -> None:
    name = model_name_of(create_model("unified_dw_conv_nano"))
    report = AffinityAnalysis(AffinityConfig(), request(name), Store(tmp_path)).run()
    assert (report.measured, report.failures) == (2, [])
    assert set(Store(tmp_path).read(report.keys)["definition"]) == {"affinity.v1"}
