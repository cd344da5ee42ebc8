"""Contextual blocks in one kernel: the numbers of their layers, and where it leaves them alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.kernels import contextual as kernels
from stmbench.kernels import setting
from stmbench.kernels.library import VARIABLE, call
from stmbench.mixers.cot import Cot, Coxt
from stmbench.mixers.ops import contextual as ops
from stmbench.mixers.ops.contextual import CotConfig
from tests.kernels import needs_kernels, require_same_by_default_dtype, require_same_with_threads

WHAT = pytest.mark.parametrize("kind", [Cot, Coxt])
Kind = type[Cot] | type[Coxt]


@pytest.fixture(autouse=True)
def every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "ENOUGH", 0)
    monkeypatch.setattr(ops, "POSITIONS", 0)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def built(kind: Kind = Cot, dim: int = 64, key_groups: int = 4) -> Cot | Coxt:
    """In eval mode, with weights, biases and running statistics that all count."""
    config = CotConfig(dim=dim, key_groups=key_groups, halves=2 if kind is Coxt else 1)
    mixer = kind(config).eval().requires_grad_(False)
    for seed, parameter in enumerate(mixer.parameters()):
        parameter.copy_(
            drawn(*parameter.shape, seed=seed) * (0.5 if parameter.ndim == 1 else parameter[0].numel() ** -0.5)
        )
    for seed, buffer in enumerate(mixer.buffers()):
        if buffer.is_floating_point():
            buffer.copy_(drawn(*buffer.shape, seed=seed).abs() + 0.3)
    return mixer


def images(*shape: int) -> Tensor:
    return drawn(*(shape or (3, 9, 10, 64)), seed=100) + 0.5


def runs(mixer: nn.Module, x: Tensor) -> int:
    with setting.counted() as calls:
        mixer(x)
    return calls["contextual"]


SIZES = [(1, 1, 1, 16, 4), (2, 5, 7, 48, 4), (3, 9, 10, 64, 8), (2, 1, 9, 16, 2), (2, 3, 1, 80, 4), (1, 30, 29, 32, 4),
         (2, 2, 2, 320, 4), (0, 4, 4, 16, 1), (5, 14, 14, 144, 4)]  # fmt: skip


@needs_kernels
@WHAT
@pytest.mark.parametrize("part", [1, 2048])
@pytest.mark.parametrize(("batch", "height", "width", "dim", "key_groups"), SIZES)
def test_it_is_the_mixer_in_double_precision(
    kind: Kind,
    batch: int,
    height: int,
    width: int,
    dim: int,
    key_groups: int,
    part: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernels, "PART", part)
    mixer, x = built(kind, dim, key_groups), images(batch, height, width, dim)
    assert runs(mixer, x) == 1
    ours = mixer(x)
    expected = mixer.double().reference(x.double()) if batch else ours.double()
    torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-5)


@needs_kernels
def test_weights_far_from_zero_lose_no_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """GroupNorm's variance is not the small difference of large squares."""
    mixer, x = built(), images()
    assert mixer.weights.expand.bias is not None
    mixer.weights.expand.bias += 300
    mixer.weights.expand.weight *= 0.1
    ours, expected = mixer(x), mixer.double().reference(x.double())
    torch.testing.assert_close(ours.double(), expected, rtol=1e-4, atol=1e-4)


@needs_kernels
@pytest.mark.parametrize("place", [0, 1, 3135])
@pytest.mark.parametrize("channels", [9, 25])
def test_one_position_far_from_the_others_costs_no_digits(place: int, channels: int) -> None:
    x = drawn(3136, channels * 9) * 1e-3 + 0.5
    x[place] = 1e4
    room = torch.cat([x.flatten(), torch.zeros(16)])
    scale, shift, ones = torch.empty(9 * channels + 16), torch.empty(9 * channels + 16), torch.ones(9 * channels)
    given = (room, 0 * ones, ones, 0 * ones, scale, shift)
    call("group_affine", given, (1, 3136, 1, 9, channels), 1e-5, is_part=True)
    groups = x.double().view(3136, 9, channels).transpose(1, 2).reshape(3136, channels, 9)
    expected = (groups.var((0, 2), correction=0) + 1e-5).rsqrt()
    torch.testing.assert_close(scale[: 9 * channels].double(), expected.repeat(9), rtol=1e-6, atol=0)
    means = -groups.mean((0, 2)) * expected
    torch.testing.assert_close(shift[: 9 * channels].double(), means.repeat(9), rtol=1e-6, atol=1e-6)


@needs_kernels
@WHAT
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_nothing(kind: Kind, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mixer, x = built(kind), images(4, 9, 10, 64)
    require_same_with_threads(mixer, x, threads, monkeypatch)


@needs_kernels
@WHAT
def test_permuted_images_and_another_default_dtype(kind: Kind) -> None:
    mixer, x = built(kind), images()
    moved = x.transpose(1, 2)  # not contiguous
    assert runs(mixer, moved) == 1
    require_same_by_default_dtype(mixer, moved, mixer(moved.contiguous()))


@needs_kernels
@WHAT
def test_what_is_no_number_stays_in_its_image(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    mixer, x = built(kind), images()
    x[1, 4, 4, 3] = math.nan
    ours = mixer(x)
    monkeypatch.setenv(VARIABLE, "off")
    expected = mixer(x)
    assert expected[1].isnan().all()
    assert not expected[[0, 2]].isnan().any()
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5, equal_nan=True)


@needs_kernels
@WHAT
def test_weights_in_another_order_in_memory(kind: Kind) -> None:
    mixer, x = built(kind), images()
    expected = mixer(x)
    for parameter in mixer.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.transpose(0, 1).contiguous().transpose(0, 1)
        else:
            parameter.data = torch.stack([parameter.data] * 2, 1)[:, 0]
    assert runs(mixer, x) == 1
    torch.testing.assert_close(mixer(x), expected, rtol=1e-5, atol=1e-5)


def watch(mixer: Cot, part: str) -> None:
    mixer.get_submodule(part).register_forward_hook(lambda *_: None)


def circular(conv: nn.Conv2d) -> Callable[..., Tensor]:
    """What makes tiles without a seam of a network's outputs."""
    return lambda x, weight, bias: F.conv2d(F.pad(x, (1, 1, 1, 1), "circular"), weight, bias, groups=conv.groups)


PARTS = [
    *("context", "context.0", "context.1", "context.2", "weights", "weights.reduce", "weights.norm", "weights.expand"),
    *("weights.weight_norm", "value", "value_norm", "norm", "split", "split.reduce", "split.norm", "split.expand"),
]
CHANGES: dict[str, Callable[[Cot], object]] = {
    "training": lambda mixer: mixer.train(),
    "one norm in training": lambda mixer: mixer.value_norm.train(),
    "gradient": lambda mixer: mixer.requires_grad_(),
    "float64": lambda mixer: mixer.double(),
    "half": lambda mixer: mixer.bfloat16(),
    "convolution replaced": lambda mixer: mixer.context.__setitem__(0, nn.Identity()),
    "one layer more": lambda mixer: mixer.context.append(nn.Tanh()),
    "activation replaced": lambda mixer: mixer.context.__setitem__(2, nn.Tanh()),
    "convolution of wider steps": lambda mixer: mixer.context.__setitem__(
        0, nn.Conv2d(64, 64, 3, 1, 2, 2, groups=4, bias=False)
    ),
    "convolution that repeats the edge": lambda mixer: setattr(mixer.context[0], "padding_mode", "replicate"),
    "convolution with a bias": lambda mixer: setattr(mixer, "value", nn.Conv2d(64, 64, 1)),
    "norm without weights": lambda mixer: setattr(mixer, "norm", nn.BatchNorm2d(64, affine=False)),
    "norm of the batch": lambda mixer: setattr(mixer, "norm", nn.BatchNorm2d(64, track_running_stats=False)),
    "norm replaced": lambda mixer: setattr(mixer, "norm", nn.Identity()),
    "norm of other groups": lambda mixer: setattr(mixer.weights, "weight_norm", nn.GroupNorm(4, 72)),
    "split replaced": lambda mixer: setattr(mixer, "split", nn.Identity()),
    "bias of one number": lambda mixer: setattr(mixer.weights.expand, "bias", nn.Parameter(torch.ones(1))),
    "norm without a weight": lambda mixer: setattr(mixer.weights.weight_norm, "weight", None),
    "norm of nine weights": lambda mixer: setattr(mixer.weights.weight_norm, "weight", nn.Parameter(torch.ones(9))),
    "padding replaced": lambda mixer: setattr(mixer.context[0], "_conv_forward", circular(mixer.context[0])),
    "fusion replaced": lambda mixer: setattr(mixer, "fuse", lambda dynamic, static: dynamic),
    "values replaced": lambda mixer: setattr(mixer, "_value", lambda x: x.permute(0, 2, 3, 1)),
    **{f"{part} watched": lambda mixer, part=part: watch(mixer, part) for part in PARTS},
}


@needs_kernels
@pytest.mark.parametrize("change", CHANGES)
def test_it_leaves_a_changed_block_alone(change: str) -> None:
    mixer = built()
    CHANGES[change](mixer)
    if change != "training":
        for module in mixer.modules():
            if not isinstance(module, nn.BatchNorm2d) or change != "one norm in training":
                module.training = False
    mixer.requires_grad_(change == "gradient")
    x = images().to(mixer.weights.reduce.weight.dtype)
    with setting.counted() as calls:
        try:
            mixer(x)
        except (TypeError, RuntimeError):  # PyTorch refuses some of these
            assert change in {"split replaced", "bias of one number", "norm of nine weights"}
    assert calls["contextual"] == 0


@needs_kernels
def test_a_subclass_is_its_own() -> None:
    class Other(Cot):
        def fuse(self, dynamic: Tensor, static: Tensor) -> Tensor:
            return dynamic

    config = CotConfig(dim=64)
    assert runs(Other(config).eval().requires_grad_(False), images()) == 0


@needs_kernels
@WHAT
def test_small_maps_are_not_worth_it(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert runs(built(kind), images(1, 7, 9, 64)) == 0
    assert runs(built(kind), images(2, 8, 8, 64)) == 1


@pytest.mark.filterwarnings("ignore:`torch.jit.trace", "ignore::torch.jit.TracerWarning")
@needs_kernels
def test_autocast_and_a_trace_show_the_plain_form() -> None:
    mixer, x = built(), images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert runs(mixer, x) == 0
    with setting.counted() as calls:
        torch.jit.trace(mixer, (x,), check_trace=False)
    assert calls["contextual"] == 0
