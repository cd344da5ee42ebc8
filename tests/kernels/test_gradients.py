"""Backward passes of kernels in unusual hands: what PyTorch's own operations give, they give, or leave to these."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils.flop_counter import FlopCounterMode

from stmbench.architectures.blocks import BlockConfig, Branch, TransformerBlock
from stmbench.kernels import setting
from stmbench.kernels.library import VARIABLE
from stmbench.mixers.ops.contextual import SplitAttention
from stmbench.mixers.ops.patch_conv import PatchConv
from tests.kernels import needs_kernels

pytestmark = needs_kernels
CONFIG = BlockConfig(dim=64, mlp_ratio=4, norm_eps=1e-6, drop_path=0.0, scale=0.5)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A module that runs kernels, what it is given, and which kernels run."""

    build: Callable[[], nn.Module]
    given: tuple[Tensor, ...]
    kernel: str

    def module(self) -> nn.Module:
        module = self.build().train()
        with torch.no_grad():
            for seed, parameter in enumerate(module.parameters()):
                parameter.copy_(drawn(*parameter.shape, seed=seed) * 0.2)
        return module

    def inputs(self) -> tuple[Tensor, ...]:
        return tuple(tensor.detach().clone().requires_grad_() for tensor in self.given)


MAP = drawn(4, 32, 32, 64)
CASES = {
    "mlp": Case(
        build=lambda: TransformerBlock(nn.Identity(), CONFIG),
        given=(drawn(4, 16, 16, 64),),
        kernel="residual_mlp_training",
    ),
    "residual": Case(build=lambda: Branch(CONFIG), given=(MAP, drawn(4, 32, 32, 64, seed=1)), kernel="scaled_residual"),
    "mix": Case(
        build=lambda: SplitAttention(64),
        given=(MAP.permute(0, 3, 1, 2), drawn(4, 32, 32, 64, seed=1).permute(0, 3, 1, 2)),
        kernel="mixed",
    ),
    "patches": Case(
        build=lambda: PatchConv(64, 256, 3, stride=2, padding=1, bias=False),
        given=(drawn(2, 8, 8, 64).permute(0, 3, 1, 2),),
        kernel="patch_conv",
    ),
}
ALL = pytest.mark.parametrize("name", CASES)
Use = Callable[[nn.Module, tuple[Tensor, ...]], Any]


def require_same(name: str, use: Use, monkeypatch: pytest.MonkeyPatch, *, close: float = 2e-5) -> None:
    """With kernels, of which the forward pass ran, and without."""
    case, found = CASES[name], []
    for chosen in ("auto", "off"):
        monkeypatch.setenv(VARIABLE, chosen)
        with setting.counted() as calls:
            result = use(case.module(), case.inputs())
        assert bool(calls[case.kernel]) == (chosen == "auto")
        found.append(result)
    torch.testing.assert_close(
        *found, rtol=close, atol=close * max((float(t.abs().max()) for t in found[1] if t is not None), default=0.0)
    )


def every_gradient(module: nn.Module, inputs: tuple[Tensor, ...], of_y: Callable[[Tensor], Tensor]) -> list[Tensor]:
    y = module(*inputs)
    torch.autograd.backward(y, of_y(y))
    # the split's first bias has a gradient of rounding alone: a norm follows
    named = [parameter for name, parameter in module.named_parameters() if name != "reduce.bias"]
    return [tensor.grad for tensor in (*inputs, *named)]


@ALL
@pytest.mark.parametrize(
    "of_y",
    [lambda y: torch._neg_view(y.detach().sin()), lambda y: torch._efficientzerotensor(y.shape), torch.ones_like],
    ids=["negative view", "zero tensor", "ones"],
)
def test_gradients_of_all_kinds(name: str, of_y: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    require_same(name, lambda module, inputs: every_gradient(module, inputs, of_y), monkeypatch)


@ALL
def test_a_tangent_of_the_gradient_goes_through(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def tangents(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
        y = module(*inputs)
        with forward_ad.dual_level():
            gradient = forward_ad.make_dual(torch.ones_like(y), y.detach().sin())
            found = torch.autograd.grad(y, inputs, gradient)
            return [forward_ad.unpack_dual(each).tangent for each in found]

    require_same(name, tangents, monkeypatch)


@ALL
def test_batched_gradients(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def batched(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
        y = module(*inputs)
        gradients = torch.stack([y.detach().sin(), y.detach().cos()])
        return list(torch.autograd.grad(y, inputs, gradients, is_grads_batched=True))

    require_same(name, batched, monkeypatch)


@ALL
@pytest.mark.parametrize("frozen", ["inputs", "parameters"])
def test_second_derivatives_with_one_side_frozen(name: str, frozen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def penalty(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
        if frozen == "inputs":
            wanted = [parameter for name, parameter in module.named_parameters() if name != "reduce.bias"]
            inputs = tuple(tensor.detach() for tensor in inputs)
        else:
            wanted = list(inputs)
            module.requires_grad_(False)
        first = torch.autograd.grad(module(*inputs).pow(3).sum(), wanted, create_graph=True)
        second = torch.autograd.grad(sum(each.square().sum() for each in first), wanted)
        return [*(each.detach() for each in first), *second]

    if (name, frozen) == ("mix", "inputs"):
        pytest.skip("the kernels are for maps with a gradient")
    require_same(name, penalty, monkeypatch, close=1e-4)


@ALL
def test_an_undefined_gradient_stays_undefined(name: str) -> None:
    class Nothing(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> None:
            return None

    case = CASES[name]
    module, inputs = case.module(), case.inputs()
    Nothing.apply(module(*inputs)).sum().backward()
    assert all(tensor.grad is None for tensor in (*inputs, *module.parameters()))


@ALL
def test_a_backward_pass_counts_as_many_operations(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
        y = module(*inputs)
        with FlopCounterMode(display=False) as counter:
            y.sum().backward()
        return [torch.tensor(float(counter.get_total_flops()))]

    require_same(name, count, monkeypatch, close=0.0)


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("frozen", ["mlp.fc1.weight", "mlp.fc2.weight", "branch2.scale", "norm2.weight"])
def test_what_nobody_asks_for_is_not_given(frozen: str) -> None:
    """Nor looked at by the mode that refuses what is no number, where memory begins as that."""
    case = CASES["mlp"]
    module, inputs = case.module(), case.inputs()
    module.get_parameter(frozen).requires_grad_(False)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.autograd.detect_anomaly(check_nan=True):
            module(*inputs).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert module.get_parameter(frozen).grad is None


@pytest.mark.parametrize("bias", ["mlp.fc1.bias", "mlp.fc2.bias"])
@pytest.mark.parametrize("twice", [False, True])
def test_biases_may_change_before_the_backward_pass(bias: str, twice: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch does not keep them."""

    def changed(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
        y = module(*inputs)
        with torch.no_grad():
            module.get_parameter(bias).mul_(2)
        wanted = [*inputs, *module.parameters()]
        if twice:
            first = torch.autograd.grad(y.square().sum(), inputs, create_graph=True)
            return list(torch.autograd.grad(first[0].square().sum(), inputs))
        return list(torch.autograd.grad(y.square().sum(), wanted))

    require_same("mlp", changed, monkeypatch, close=1e-4)


def test_a_map_whose_scale_is_frozen_may_change(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
        module.requires_grad_(False)
        y = inputs[1] * 2
        sums = module(inputs[0], y)
        y.mul_(3)
        return list(torch.autograd.grad(sums.sin().sum(), inputs))

    require_same("residual", changed, monkeypatch)


def test_weights_that_change_before_the_backward_pass_are_refused() -> None:
    case = CASES["mlp"]
    for name in ("mlp.fc1.weight", "mlp.fc2.weight", "branch2.scale", "norm2.weight"):
        module, inputs = case.module(), case.inputs()
        y = module(*inputs)
        with torch.no_grad():
            module.get_parameter(name).mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()
