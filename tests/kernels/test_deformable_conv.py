"""Deformable convolution v3 in one kernel: the numbers of its layers, and where it leaves them alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stmbench.kernels import deformable_conv as kernels
from stmbench.kernels import setting
from stmbench.kernels.library import VARIABLE
from stmbench.mixers.dcnv3 import Dcnv3, Dcnv3Config
from tests.kernels import needs_kernels, require_same_by_default_dtype, require_same_with_threads


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def built(dim: int = 64, groups: int = 4) -> Dcnv3:
    """In eval mode, with weights and biases that all count: points are some tokens away, also outside the map."""
    mixer = Dcnv3(Dcnv3Config(dim=dim, groups=groups)).eval().requires_grad_(False)
    for seed, parameter in enumerate(mixer.parameters()):
        parameter.copy_(drawn(*parameter.shape, seed=seed) * (0.5 if parameter.ndim == 1 else 1.5 / dim**0.5))
    return mixer


def images(*shape: int) -> Tensor:
    return drawn(*(shape or (3, 9, 10, 64)), seed=100) + 0.5


def runs(mixer: Dcnv3, x: Tensor) -> int:
    with setting.counted() as calls:
        mixer(x)
    return calls["deformable_conv"]


SIZES = [(1, 1, 1, 16, 1), (2, 5, 7, 24, 3), (3, 9, 10, 64, 4), (2, 1, 9, 8, 2), (2, 3, 1, 40, 5), (1, 14, 2, 34, 2),
         (2, 2, 2, 320, 20), (0, 4, 4, 16, 1), (2, 6, 13, 7, 1)]  # fmt: skip


@needs_kernels
@pytest.mark.parametrize("part", [1, 2048])
@pytest.mark.parametrize(("batch", "height", "width", "dim", "groups"), SIZES)
def test_it_is_the_mixer_in_double_precision(
    batch: int, height: int, width: int, dim: int, groups: int, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "PART", part)
    mixer, x = built(dim, groups), images(batch, height, width, dim)
    assert runs(mixer, x) == 1
    ours, expected = mixer(x), mixer.double().reference(x.double())
    # a point's share is as exact as its position: to 1e-7 of a token
    torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=2e-5)


@needs_kernels
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_nothing(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mixer, x = built(), images(4, 9, 10, 64)
    require_same_with_threads(mixer, x, threads, monkeypatch)


@needs_kernels
def test_points_far_out_are_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    mixer, x = built(), images()
    mixer.offsets.bias[:18] = torch.tensor([1e30, -1e30, 1e9, 40, -40, -2.5, 9.5, 8.5, -1, 10, *(8 * [-3.0])])
    ours = mixer(x)
    monkeypatch.setenv(VARIABLE, "off")
    torch.testing.assert_close(ours, mixer(x), rtol=1e-5, atol=2e-5)


@needs_kernels
def test_what_is_no_number_stays_with_the_tokens_that_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    mixer, x = built(), images()
    x[1, 4, 4, 3] = math.nan
    ours = mixer(x)
    monkeypatch.setenv(VARIABLE, "off")
    expected = mixer(x)
    assert expected.isnan().any()
    assert not expected.isnan().all()
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=2e-5, equal_nan=True)


@needs_kernels
def test_permuted_images_and_another_default_dtype() -> None:
    mixer, x = built(), images()
    moved = x.transpose(1, 2)  # not contiguous
    assert runs(mixer, moved) == 1
    require_same_by_default_dtype(mixer, moved, mixer(moved.contiguous()))


@needs_kernels
def test_weights_in_another_order_in_memory() -> None:
    mixer, x = built(), images()
    expected = mixer(x)
    for parameter in mixer.parameters():
        if parameter.ndim > 1:
            parameter.data = parameter.data.transpose(0, 1).contiguous().transpose(0, 1)
        else:
            parameter.data = torch.stack([parameter.data] * 2, 1)[:, 0]
    assert runs(mixer, x) == 1
    torch.testing.assert_close(mixer(x), expected, rtol=1e-5, atol=1e-5)


def watch(mixer: Dcnv3, part: str) -> None:
    mixer.get_submodule(part).register_forward_hook(lambda *_: None)


def sparse(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight.detach().to_sparse(), requires_grad=False)


PARTS = ("conv", "norm", "offsets", "weights", "proj_in", "proj_out")
CHANGES: dict[str, Callable[[Dcnv3], object]] = {
    "gradient": lambda mixer: mixer.requires_grad_(),
    "float64": lambda mixer: mixer.double(),
    "half": lambda mixer: mixer.bfloat16(),
    "convolution replaced": lambda mixer: setattr(mixer, "conv", nn.Identity()),
    "convolution of wider steps": lambda mixer: setattr(mixer, "conv", nn.Conv2d(64, 64, 3, 1, 2, 2, groups=64)),
    "convolution that repeats the edge": lambda mixer: setattr(mixer.conv, "padding_mode", "replicate"),
    "convolution without a bias": lambda mixer: setattr(mixer.conv, "bias", None),
    "norm without weights": lambda mixer: setattr(mixer, "norm", nn.LayerNorm(64, elementwise_affine=False)),
    "norm replaced": lambda mixer: setattr(mixer, "norm", nn.Identity()),
    "layer replaced": lambda mixer: setattr(mixer, "offsets", nn.Sequential(mixer.offsets)),
    "layer without a bias": lambda mixer: setattr(mixer, "proj_out", nn.Linear(64, 64, bias=False)),
    "layer of one output": lambda mixer: setattr(mixer, "proj_out", nn.Linear(64, 1)),
    "norm of another shape": lambda mixer: setattr(mixer.norm, "normalized_shape", (32,)),
    "convolution's method replaced": lambda mixer: setattr(mixer.conv, "_conv_forward", lambda x, *_: x),
    "points chosen otherwise": lambda mixer: setattr(mixer, "_offsets", Dcnv3(mixer.config)._offsets),
    "sparse weights": lambda mixer: setattr(mixer.offsets, "weight", sparse(mixer.offsets.weight)),
    "bias of one number": lambda mixer: setattr(mixer.proj_in, "bias", nn.Parameter(torch.ones(1))),
    **{f"{part} watched": lambda mixer, part=part: watch(mixer, part) for part in PARTS},
}


@needs_kernels
@pytest.mark.parametrize("change", CHANGES)
def test_it_leaves_a_changed_mixer_alone(change: str) -> None:
    mixer = built()
    CHANGES[change](mixer)
    mixer.requires_grad_(change == "gradient")
    with setting.counted() as calls:
        try:
            mixer(images().to(mixer.weights.weight.dtype))
        except RuntimeError:  # PyTorch refuses it
            assert change == "norm of another shape"
    assert calls["deformable_conv"] == 0


@needs_kernels
def test_a_class_that_was_changed_is_not_bypassed(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: 2 * forward(self, x))
    assert runs(built(), images()) == 0


@needs_kernels
def test_zeros_without_memory_are_zeros() -> None:
    assert runs(built(), torch._efficientzerotensor((1, 4, 4, 64))) == 0


@pytest.mark.filterwarnings("ignore:`torch.jit.trace", "ignore::torch.jit.TracerWarning")
@needs_kernels
def test_autocast_and_a_trace_show_the_plain_form() -> None:
    mixer, x = built(), images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert runs(mixer, x) == 0
    with setting.counted() as calls:
        torch.jit.trace(mixer, (x,), check_trace=False)
    assert not calls
