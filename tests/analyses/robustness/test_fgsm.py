"""One gradient for every eps: known answers, and the same images as torchattacks makes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stmbench.analyses.robustness.attacks import torchattacks_fgsm
from stmbench.analyses.robustness.fgsm import Target, gradient
from stmbench.architectures.catalog import create_model
from stmbench.errors import UnitError
from tests.analyses.robustness.networks import STD, Constant, Convolutions, Linear, normalise

EPS = (8 / 255, 2 / 255, 0.5 / 255)
SETTINGS = {"steps": 10, "seed": 0}


def _images(count: int, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(count, 3, size, size, generator=generator)
    pixels[0, :, :8], pixels[-1, :, :8] = 0, 1  # where the clamp matters
    return pixels, torch.randint(0, 10, (count,), generator=generator)


@pytest.mark.parametrize("count", [1, 5, 8, 13])
def test_it_agrees_with_torchattacks(count: int) -> None:
    pytest.importorskip("torchattacks")
    target = Target(Convolutions(), normalise)
    pixels, labels = _images(count)
    found = gradient(target, pixels, labels)
    for eps in EPS:
        theirs = torchattacks_fgsm(target, pixels, labels, eps=eps, **SETTINGS)
        assert (found.step(pixels, eps) - theirs).abs().max() <= 1e-6


@pytest.mark.parametrize("mixer", ["halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3"])
def test_it_agrees_with_torchattacks_on_every_mixer(mixer: str) -> None:
    pytest.importorskip("torchattacks")
    target = Target(create_model(f"unified_{mixer}_nano", num_classes=10), normalise)
    pixels, labels = _images(3)
    theirs = torchattacks_fgsm(target, pixels, labels, eps=EPS[0], **SETTINGS)
    assert (gradient(target, pixels, labels).step(pixels, EPS[0]) - theirs).abs().max() <= 1e-6


def test_a_linear_model_moves_as_far_as_it_can() -> None:
    weight = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    pixels, eps = torch.full((2, 3, 4, 4), 0.5), 0.01
    target = Target(Linear(weight), lambda x: x)
    before, after = target(pixels), target(gradient(target, pixels, torch.tensor([1, 0])).step(pixels, eps))
    moved = (after - before)[:, 1]
    assert torch.allclose(moved, eps * weight.abs().sum() * torch.tensor([-1.0, 1.0]), rtol=1e-5)


def test_eps_is_on_the_scale_of_pixels() -> None:
    """The normalised input moves by eps / std: attacking normalised images would move it by eps."""
    target = Target(Convolutions(), normalise)
    pixels = 0.25 + 0.5 * _images(4)[0]
    moved = normalise(gradient(target, pixels, None).step(pixels, 8 / 255)) - normalise(pixels)
    assert torch.allclose(moved.abs().amax((0, 2, 3)), 8 / 255 / torch.tensor(STD), rtol=1e-4)


def test_without_labels_it_attacks_the_own_prediction() -> None:
    target = Target(Convolutions(), normalise)
    pixels, _ = _images(6)
    own = target(pixels).argmax(1)
    assert torch.equal(gradient(target, pixels, None).sign, gradient(target, pixels, own).sign)
    assert torch.equal(gradient(target, pixels, None).logits.argmax(1), own)


def test_one_image_does_not_see_the_others() -> None:
    target = Target(Convolutions(), normalise)
    pixels, labels = _images(6)
    alone = gradient(target, pixels[2:3], labels[2:3])
    assert (alone.sign[0] == gradient(target, pixels, labels).sign[2]).float().mean() > 0.999


def test_only_the_input_gets_a_gradient() -> None:
    model = Convolutions().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    target = Target(model, normalise)
    target.train()
    pixels, labels = _images(4)
    gradient(target, pixels, labels)
    assert not target.training
    assert not model.training, "batch norm would take the statistics of the batch"
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not pixels.requires_grad


def test_the_share_of_zero_gradients_is_known() -> None:
    weight = torch.ones(3, 2, 2)
    weight[0] = 0
    found = gradient(Target(Linear(weight), lambda x: x), torch.full((2, 3, 2, 2), 0.5), torch.tensor([0, 1]))
    assert torch.allclose(found.zero_share, torch.tensor([1 / 3, 1 / 3]))
    flat = gradient(Target(Constant((0.0, 1.0)), lambda x: x), torch.rand(2, 3, 2, 2), None)
    assert flat.zero_share.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_models_are_attacked_on_float32_pixels(dtype: torch.dtype) -> None:
    target = Target(nn.Sequential(nn.Flatten(), nn.Linear(48, 5)).to(dtype), lambda x: x, dtype=dtype)
    pixels = torch.rand(64, 3, 4, 4)
    found = gradient(target, pixels, None)
    assert found.logits.dtype == torch.float32
    moved = (found.step(pixels, 0.5 / 255) - pixels).abs()
    assert moved.max() <= 0.5 / 255 + 2**-22
    assert found.zero_share.max() == 0


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "NaN"), (float("inf"), "infinite")])
def test_logits_that_are_no_numbers_are_refused(value: float, word: str) -> None:
    with pytest.raises(UnitError, match=f"{word} logits"):
        gradient(Target(Constant((0.0, value)), normalise), torch.rand(2, 3, 4, 4), None)


def test_a_nan_gradient_is_refused() -> None:
    class Root(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            score = (x - x).flatten(1).sum(1).sqrt() * 0
            return torch.stack((score, 1 - score), 1)

    with pytest.raises(UnitError, match="NaN gradient"):
        gradient(Target(Root(), lambda x: x), torch.rand(2, 3, 4, 4), None)
