"""Effective receptive fields of models given as objects, and where their stages are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from stmbench.analyses.erf.analysis import Erf, gradient_maps
from stmbench.analyses.erf.definitions import ErfConfig
from stmbench.analyses.images import ImageRequest
from stmbench.analyses.stages import stage_maps, stages_of
from stmbench.architectures.catalog import create_model
from stmbench.architectures.given_models import model_name_of
from stmbench.data.given_images import data_name_of
from stmbench.errors import UnitError
from stmbench.tables import Store
from tests.architectures.given_networks import Plain, TokenNetwork

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
VIT: dict[str, Any] = {"img_size": 32, "patch_size": 8, "depth": 2, "embed_dim": 24, "num_heads": 2, "num_classes": 4}


def built(module: nn.Module, **options: Any) -> nn.Module:
    options.setdefault("input_size", 32)
    return create_model(model_name_of(module, **options)).eval()


def paths(model: nn.Module) -> list[str]:
    return [stage.module for stage in stages_of(model)]


def test_stages_are_named_modules_graph_nodes_timms_or_the_ends_of_each_size() -> None:
    resnet = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=4)
    assert paths(built(resnet, stage_modules=["layer1", "layer3"])) == ["layer1", "layer3"]
    assert paths(built(resnet, return_nodes=["layer1", "layer3"])) == ["layer1", "layer3"]
    assert paths(built(resnet, return_nodes=["layer1", "layer3.0.add"])) == ["stage_node_0", "stage_node_1"]
    assert paths(built(timm.create_model("vit_tiny_patch16_224", **VIT))) == ["blocks.0", "blocks.1"]
    assert paths(built(resnet, input_size=64)) == ["layer1", "layer2", "layer3", "layer4"]
    bottleneck = ResNet(Bottleneck, [1, 1, 1, 1], num_classes=4)
    assert paths(built(bottleneck, input_size=64)) == ["layer1", "layer2", "layer3", "layer4"]


def test_nodes_and_modules_have_the_same_maps() -> None:
    resnet = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=4)
    by_module = built(resnet, stage_modules=["layer1", "layer2"])
    by_node = built(resnet, return_nodes=["layer1", "layer2.0.relu_1"])
    for one, other in zip(*(stage_maps(m, stages_of(m), IMAGES) for m in (by_module, by_node)), strict=True):
        assert torch.equal(one, other)


def test_maps_of_a_timm_vit_are_those_of_timm() -> None:
    module = timm.create_model("vit_tiny_patch16_224", **VIT).eval()
    by_timm, by_hand = built(module), built(module, stage_modules=["blocks.0", "blocks.1"])
    found = [stage_maps(model, stages_of(model), IMAGES) for model in (by_timm, by_hand)]
    for one, other in zip(*found, strict=True):
        assert one.shape == (3, 24, 4, 4)
        assert torch.equal(one, other), "class token left out, tokens row by row"


def test_a_network_of_tokens_has_the_gradients_of_its_map() -> None:
    torch.manual_seed(0)
    model = built(TokenNetwork(), stage_modules=["layers.0", "layers.1"])
    images = IMAGES.clone().requires_grad_(True)
    tokens: list[Tensor] = []
    handle = model.layers[1].register_forward_hook(lambda _, __, output: tokens.append(output[0]))
    model(images)
    handle.remove()
    (wanted,) = torch.autograd.grad(tokens[0][:, 1 + 2 * 4 + 2].relu().sum(), images)  # row 2, column 2 of 4 x 4
    found = list(gradient_maps(model, stages_of(model), IMAGES))
    assert torch.equal(found[1].magnitude, wanted.square().sum(1).sqrt())
    assert bool(found[1].magnitude.any())


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (TokenNetwork(), {}, r"got maps of 1 sizes; give stage_modules=\[...\]"),
        (Plain(), {"stage_modules": ["body", "stem"]}, r"the order in which the network comes to them, got body, stem"),
        (Plain(), {"stage_modules": ["stem", "fc"]}, r"expected a map .*, got \(3, 10\)"),
    ],
)
def test_stages_that_cannot_be_used(module: nn.Module, options: dict[str, Any], message: str) -> None:
    model = built(module, **options)
    with pytest.raises(UnitError, match=message):
        stage_maps(model, stages_of(model), IMAGES)


def run(folder: Path, *models: str, dataset: str) -> tuple[Any, pd.DataFrame]:
    report = Erf(ErfConfig(), ImageRequest(models=models, dataset=dataset, num_images=2), Store(folder)).run()
    return report, Store(folder).read(report.keys)


def test_objects_end_to_end(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Plain()
    options = {"input_size": 32, "stage_modules": ["stem", "body"]}
    tokens = model_name_of(TokenNetwork(), stage_modules=["layers.1"])
    name, images = model_name_of(module, **options), data_name_of(IMAGES, name="noise")
    report, frame = run(tmp_path, name, tokens, dataset=images)
    assert (report.measured, report.failures) == (2, [])
    assert set(frame["model"]) == {name, tokens}
    assert set(frame["architecture"]) == {"module"}
    assert frame["weights"].str.startswith("given:").all()
    assert frame["dataset"].str.startswith("noise:").all()
    sizes = frame[frame["definition"] == frame["definition"].iloc[0]].groupby(["model", "stage"])["value"].first()
    assert 0 < sizes[name][0] < sizes[name][1] < 1
    assert 0 < sizes[tokens][0] < 1
    again, _ = run(tmp_path, model_name_of(module, **options), tokens, dataset=data_name_of(IMAGES, name="noise"))
    assert (again.measured, again.keys) == (0, report.keys)
    with torch.no_grad():
        module.stem.weight += 0.01
    changed, _ = run(tmp_path, model_name_of(module, **options), tokens, dataset=images)
    assert (changed.measured, len(changed.reused)) == (1, 1)
