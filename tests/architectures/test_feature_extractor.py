"""Feature extractors: what they give, and files of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18

from stmbench.analyses.loaded_model import load_model, on_its_classes
from stmbench.architectures.catalog import create_model
from stmbench.architectures.feature_extractor import as_feature_extractor, feature_width, pooled
from stmbench.checkpoints.reading import read_weights
from stmbench.errors import CheckpointError, ConfigError, InputError, UnitError
from tests.data.memory_set import MemorySet

NAME = "unified_dw_conv_nano"
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_features_are_the_mean_of_the_last_map_after_its_norm() -> None:
    model = create_model(NAME).eval()
    expected = model.forward_features(IMAGES).mean((1, 2))
    found = pooled(as_feature_extractor(model), IMAGES)
    torch.testing.assert_close(found, expected)
    assert feature_width(model) == found.shape[1]
    assert not any(name.startswith("head.") for name in model.state_dict())


def test_a_timm_model_gives_what_its_classifier_takes() -> None:
    model = timm.create_model("resnet10t", num_classes=7).eval()
    expected = model.forward_head(model.forward_features(IMAGES), pre_logits=True)
    torch.testing.assert_close(pooled(as_feature_extractor(model), IMAGES), expected)


def test_a_plain_module_loses_its_last_linear_layer() -> None:
    model = resnet18(num_classes=5).eval()
    logits, classifier = model(IMAGES), model.fc
    torch.testing.assert_close(classifier(pooled(as_feature_extractor(model), IMAGES)), logits)


def test_a_module_without_a_classifier_is_refused() -> None:
    with pytest.raises(ConfigError, match="a model whose logits are a linear layer's output, got Conv2d without one"):
        as_feature_extractor(nn.Conv2d(3, 4, 3))


class _Mixer(nn.Module):
    """Made in another order than it computes in: `mix` is the last linear layer by name, and the first by use."""

    def __init__(self, classes: int, *, classifies: bool) -> None:
        super().__init__()
        self.classes, self.classifies = nn.Linear(16, classes), classifies
        self.stem, self.mix = nn.Conv2d(3, 16, 4, 4), nn.Linear(16, 16)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.stem(images).flatten(2).mT
        return (tokens + self.mix(tokens).relu()).mean(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.features(images)
        return self.classes(found) if self.classifies else found


@pytest.mark.parametrize("classes", [10, 16])
def test_the_layer_that_gives_the_logits_is_dropped_whatever_its_place_among_the_modules(classes: int) -> None:
    model = _Mixer(classes, classifies=True)
    expected = model.features(IMAGES)
    torch.testing.assert_close(pooled(as_feature_extractor(model), IMAGES), expected)
    assert model.training


def test_a_module_of_features_keeps_its_linear_layers_and_is_told_how_to_say_so() -> None:
    model = _Mixer(10, classifies=False)
    expected = model(IMAGES)
    with pytest.raises(ConfigError, match=r"logits are a linear layer's output, .*num_classes = 0 where it gives"):
        as_feature_extractor(model)
    model.num_classes = 0
    torch.testing.assert_close(pooled(as_feature_extractor(model), IMAGES), expected)


def test_a_module_that_refuses_an_image_is_refused() -> None:
    with pytest.raises(ConfigError, match="got Linear, which refuses an image"):
        as_feature_extractor(nn.Linear(5, 4))


def test_a_map_is_no_pooled_feature() -> None:
    with pytest.raises(ConfigError, match=r"pooled features \(B, D\), got \(2, 4, 30, 30\)"):
        pooled(nn.Conv2d(3, 4, 3), IMAGES)


@pytest.mark.parametrize("name", [NAME, "timm:resnet10t"])
def test_weights_without_a_head_load_as_a_feature_extractor_and_have_no_logits(name: str, tmp_path: Path) -> None:
    model = as_feature_extractor(create_model(name)).eval()
    save_file(model.state_dict(), tmp_path / "features.safetensors")
    loaded = load_model(name, tmp_path / "features.safetensors")
    torch.testing.assert_close(loaded.model(IMAGES), model(IMAGES))
    assert loaded.num_classes == 0
    with pytest.raises(InputError, match=r"a model with a classifier, got .* gives features alone; .*stmbench probe"):
        on_its_classes(loaded, MemorySet([0, 1]), None)
    with pytest.raises(UnitError, match=r"expected a model with a classifier, got .* gives features alone"):
        loaded.logits(IMAGES)


def test_a_file_that_lacks_a_block_is_refused_as_before(tmp_path: Path) -> None:
    state = {name: value for name, value in create_model(NAME).state_dict().items() if not name.startswith("stages.3")}
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(CheckpointError, match="missing"):
        load_model(NAME, tmp_path / "part.safetensors")


def _as_dino_saves(model: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    head = {"head.mlp.0.weight": torch.ones(4, 4), "head.last_layer.weight_g": torch.ones(4, 1)}
    return {**{f"{prefix}backbone.{name}": value for name, value in model.state_dict().items()},
            **{f"{prefix}{name}": value for name, value in head.items()}}  # fmt: skip


def test_the_teacher_of_a_file_as_dino_saves_it_is_taken_without_its_projection_head(tmp_path: Path) -> None:
    torch.manual_seed(1)
    teacher, student = (as_feature_extractor(create_model(NAME)).eval() for _ in range(2))
    content = {"student": _as_dino_saves(student, "module."), "teacher": _as_dino_saves(teacher, ""), "epoch": 3}
    torch.save(content, tmp_path / "dino.pth")
    torch.testing.assert_close(load_model(NAME, tmp_path / "dino.pth").model(IMAGES), teacher(IMAGES))


def test_a_file_without_a_teacher_is_refused_unless_the_student_is_asked_for(tmp_path: Path) -> None:
    student = as_feature_extractor(create_model(NAME)).eval()
    torch.save({"student": _as_dino_saves(student, "module."), "epoch": 3}, tmp_path / "dino.pth")
    with pytest.raises(CheckpointError, match=r"a file with the teacher's weights, got student .*FILE#student"):
        read_weights(tmp_path / "dino.pth")
    from stmbench.checkpoints.selection import Checkpoint

    loaded = load_model(NAME, Checkpoint(path=tmp_path / "dino.pth", key="student"))
    torch.testing.assert_close(loaded.model(IMAGES), student(IMAGES))
