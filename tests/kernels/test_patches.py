"""Convolutions as products: derivatives, PyTorch's convolution, where they run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.fx
import torch.nn.functional as F
import torch.nn.utils.parametrize
from torch import Tensor, nn

from stmbench.architectures.layers import Transition
from stmbench.kernels import setting
from stmbench.kernels.library import VARIABLE
from stmbench.kernels.patches import patch_conv
from stmbench.mixers.ops.patch_conv import PatchConv
from tests.kernels import needs_kernels, require_derivatives, require_same_as, require_same_with_threads

pytestmark = needs_kernels

# (B, H, W), channels, outputs, side, stride, padding, groups
GEOMETRIES = [
    ((2, 5, 7), 4, 6, 3, 2, 1, 1),
    ((1, 4, 4), 6, 9, 3, 1, 1, 3),
    ((3, 1, 1), 2, 4, 3, 2, 1, 2),
    ((1, 6, 5), 3, 5, 2, 2, 0, 1),
    ((2, 8, 8), 2, 3, 5, 3, 2, 1),
    ((2, 3, 9), 17, 33, 1, 1, 0, 1),
]


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape) + shape[-1]))


def tensors(size: tuple[int, int, int], channels: int, outputs: int, side: int, groups: int) -> tuple[Tensor, ...]:
    return drawn(*size, channels), drawn(outputs, channels // groups, side, side)


def forms(stride: int, padding: int, groups: int) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    def ours(x: Tensor, weight: Tensor) -> Tensor:
        return patch_conv(x, weight, stride=stride, padding=padding, groups=groups)

    def plain(x: Tensor, weight: Tensor) -> Tensor:
        y = F.conv2d(x.permute(0, 3, 1, 2), weight, stride=stride, padding=padding, groups=groups)
        return y.permute(0, 2, 3, 1)

    return ours, plain


@pytest.mark.parametrize(("size", "channels", "outputs", "side", "stride", "padding", "groups"), GEOMETRIES)
def test_it_is_a_convolution(
    size: tuple[int, int, int], channels: int, outputs: int, side: int, stride: int, padding: int, groups: int
) -> None:
    given = tensors(size, channels, outputs, side, groups)
    require_same_as(*forms(stride, padding, groups), given, close=1e-5)


@pytest.mark.parametrize(("size", "channels", "outputs", "side", "stride", "padding", "groups"), GEOMETRIES[:3])
def test_derivatives_are_the_numerical_ones(
    size: tuple[int, int, int], channels: int, outputs: int, side: int, stride: int, padding: int, groups: int
) -> None:
    require_derivatives(forms(stride, padding, groups)[0], tensors(size, channels, outputs, side, groups))


@pytest.mark.parametrize("wanted", [0, 1])
def test_one_gradient_alone(wanted: int) -> None:
    ours, plain = forms(2, 1, 1)
    given = tensors((2, 5, 7), 4, 6, 3, 1)
    inputs = [tensor.requires_grad_(index == wanted) for index, tensor in enumerate(given)]
    found, expected = (torch.autograd.grad(form(*inputs).sin().sum(), [inputs[wanted]]) for form in (ours, plain))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def conv(**changes: object) -> PatchConv:
    torch.manual_seed(0)
    options = {"in_channels": 24, "out_channels": 64, "kernel_size": 3, "padding": 1, "bias": False}
    return PatchConv(**{**options, **changes})


def images() -> Tensor:
    """A view of a channels-last map: fewer positions than outputs."""
    return drawn(2, 5, 5, 24).permute(0, 3, 1, 2)


def runs(layer: nn.Module, x: Tensor) -> bool:
    with setting.counted() as calls:
        layer(x)
    return calls["patch_conv"] > 0


def test_the_layer_gives_the_same_without(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = conv(), images()
    assert runs(layer, x)
    found = layer(x)
    assert found.is_contiguous(memory_format=torch.channels_last)
    monkeypatch.setenv(VARIABLE, "off")
    assert not runs(layer, x)
    torch.testing.assert_close(found, layer(x), rtol=1e-5, atol=1e-5)


def test_threads_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.no_grad():
        require_same_with_threads(conv(), images(), 3, monkeypatch)


def test_it_runs_for_a_small_map_alone() -> None:
    layer, x = conv(), images()
    many = x.repeat(3, 1, 1, 1)  # 150 positions: fewer than 2.5 times the outputs, which counts with a gradient
    assert runs(layer, many)
    with torch.no_grad():
        assert not runs(layer, many)
        assert runs(layer, x)
    assert not runs(layer, x.repeat(4, 1, 1, 1))


CHANGES: dict[str, dict[str, object]] = {
    "bias": {"bias": True},
    "dilation": {"dilation": 2, "padding": 2},
    "rows and columns": {"kernel_size": (3, 1), "padding": (1, 0)},
    "strides": {"stride": (1, 2)},
    "paddings": {"padding": (1, 0)},
    "padding by name": {"padding": "same"},
    "reflection": {"padding_mode": "reflect"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_it_leaves_other_convolutions_alone(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = conv(**CHANGES[change]), images()
    assert not runs(layer, x)
    found = layer(x)
    monkeypatch.setenv(VARIABLE, "off")
    torch.testing.assert_close(found, layer(x), rtol=0, atol=0)


def test_it_leaves_what_is_not_as_usual_alone() -> None:
    layer, x = conv(), images()
    assert not runs(layer.double(), x.double())
    layer = conv()
    layer._conv_forward = lambda x, weight, bias: x  # type: ignore[method-assign]
    assert not runs(layer, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not runs(conv(), x)
    with pytest.raises(RuntimeError, match="channels"):
        conv()(x[:, :8])


@pytest.mark.parametrize("method", ["forward", "_conv_forward"])
def test_it_leaves_a_changed_class_alone(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x, own = conv(), images(), getattr(nn.Conv2d, method)
    monkeypatch.setattr(nn.Conv2d, method, lambda *given: 2 * own(*given))
    assert not runs(layer, x)
    found = layer(x)
    monkeypatch.undo()
    torch.testing.assert_close(found, 2 * layer(x), rtol=1e-5, atol=1e-5)


def test_a_weight_that_is_made_anew_is_made_once() -> None:
    class Count(nn.Module):
        times = 0

        def forward(self, weight: Tensor) -> Tensor:
            self.times += 1
            return weight

    layer, count = conv(), Count()
    nn.utils.parametrize.register_parametrization(layer, "weight", count, unsafe=True)
    count.times = 0
    assert not runs(layer, images())
    assert count.times == 1


def test_numbers_for_pairs() -> None:
    layer, x = conv(), images()
    expected = layer(x)
    layer.stride = 1  # type: ignore[assignment]
    assert not runs(layer, x)
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)


def test_it_can_be_traced_symbolically() -> None:
    transition, x = Transition(24, 64), images().permute(0, 2, 3, 1)
    torch.testing.assert_close(torch.fx.symbolic_trace(transition)(x), transition(x), rtol=1e-5, atol=1e-5)
