"""Student and teacher: heads of unit length and fixed gain, a teacher that follows and is not trained."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn
from torchvision.ops import StochasticDepth

from stmbench.architectures.catalog import create_model
from stmbench.architectures.feature_extractor import as_feature_extractor, pooled
from stmbench.tasks.dino.networks import ProjectionHead, SelfDistillation
from stmbench.training.dino_recipe import DINO_PRESETS
from stmbench.training.optimisation import parameter_groups

RECIPE = dataclasses.replace(DINO_PRESETS["dino_digits"], out_dim=11, hidden_dim=13, bottleneck_dim=5)


def networks(**options: Any) -> SelfDistillation:
    torch.manual_seed(0)
    backbone = as_feature_extractor(create_model("unified_dw_conv_nano", **options))
    return SelfDistillation(backbone, pooled(backbone.eval(), torch.zeros(1, 3, 32, 32)).shape[1], RECIPE)


def test_logits_are_cosines_with_prototypes() -> None:
    head = ProjectionHead(7, RECIPE)
    x = torch.randn(4, 7)
    between = nn.functional.normalize(head.mlp(x), dim=-1)
    prototypes = nn.functional.normalize(head.last_layer.weight_v, dim=-1)
    torch.testing.assert_close(head(x), between @ prototypes.T)
    assert not head.last_layer.weight_g.requires_grad
    free = ProjectionHead(7, dataclasses.replace(RECIPE, norm_last_layer=False))
    assert free.last_layer.weight_g.requires_grad


def test_the_weight_norm_is_torchs_and_so_are_its_gradients() -> None:
    head = ProjectionHead(7, dataclasses.replace(RECIPE, norm_last_layer=False)).last_layer
    plain = nn.Linear(5, 11, bias=False)
    with torch.no_grad():
        plain.weight.copy_(head.weight_v)
    wanted = nn.utils.parametrizations.weight_norm(plain)
    with torch.no_grad():
        head.weight_g.uniform_(0.5, 2)
        wanted.parametrizations.weight.original0.copy_(head.weight_g)
    x = torch.randn(3, 5)
    torch.testing.assert_close(head(x), wanted(x))
    head(x).square().sum().backward()
    wanted(x).square().sum().backward()
    torch.testing.assert_close(head.weight_v.grad, wanted.parametrizations.weight.original1.grad)
    torch.testing.assert_close(head.weight_g.grad, wanted.parametrizations.weight.original0.grad)


def test_logits_go_crop_by_crop() -> None:
    model = networks().eval()
    wide, near = torch.randn(4, 3, 32, 32), torch.randn(6, 3, 16, 16)
    student, teacher = model([wide, near])
    assert (student.shape, teacher.shape) == ((5, 2, 11), (2, 2, 11))
    assert not teacher.requires_grad
    torch.testing.assert_close(student[1, 0], model.student([wide[2:3]])[0])
    torch.testing.assert_close(student[3, 1], model.student([near[3:4]])[0])
    torch.testing.assert_close(teacher, student[:2])


def test_the_teacher_follows_parameters_and_keeps_its_buffers() -> None:
    model = networks()
    before = {name: value.clone() for name, value in model.teacher.state_dict().items()}
    with torch.no_grad():
        for parameter in model.student.parameters():
            parameter.add_(1.0)
        for name, buffer in model.student.named_buffers():
            if "running" in name:
                buffer.add_(1.0)
    model.follow(0.75)
    parameters = {name for name, _ in model.teacher.named_parameters()}
    for name, value in model.teacher.state_dict().items():
        torch.testing.assert_close(value, before[name] + 0.25 if name in parameters else before[name])


def test_stochastic_depth_is_the_students_alone_and_the_teacher_is_never_trained() -> None:
    model = networks(drop_path_rate=0.5)
    rates = {part: {m.drop_prob for m in getattr(model, part).modules() if hasattr(m, "drop_prob")}
             for part in ("student", "teacher")}  # fmt: skip
    assert max(rates["student"]) == 0.5
    assert rates["teacher"] == {0.0}
    trained = {id(p) for group in parameter_groups(model, 0.1, "none_on_tables") for p in group["params"]}
    assert not trained & {id(p) for p in model.teacher.parameters()}


def test_what_the_backbone_exempts_has_no_weight_decay() -> None:
    model = networks()
    decayed, exempt = (group["params"] for group in parameter_groups(model, 0.1, "none_on_tables"))
    scales = [p for name, p in model.student.named_parameters() if name.endswith(".scale")]
    assert scales
    assert {id(p) for p in scales} <= {id(p) for p in exempt}
    assert any(p is model.student.head.last_layer.weight_v for p in decayed)


def test_the_teacher_of_a_torchvision_model_has_no_stochastic_depth() -> None:
    backbone = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(1), StochasticDepth(0.9, "row"))
    model = SelfDistillation(backbone, 12, DINO_PRESETS["dino_digits"]).train()
    images = torch.rand(8, 3, 4, 4)
    torch.testing.assert_close(model.teacher.backbone(images), backbone[:2](images), rtol=0, atol=0)
    assert not torch.equal(model.student.backbone(images), backbone[:2](images))
