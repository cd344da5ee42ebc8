"""An MLP with its norm and its residual, with a gradient: derivatives, the numbers of its parts, where it runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.architectures import blocks
from stmbench.architectures.blocks import BlockConfig, ConvNextBlock, TransformerBlock
from stmbench.architectures.container import ContainerBlock
from stmbench.kernels import mlp_training, setting
from stmbench.kernels.library import VARIABLE
from stmbench.kernels.mlp import Weights
from stmbench.kernels.mlp_training import residual_mlp_training
from tests.kernels import differentiated, needs_kernels, require_derivatives, require_same_as

pytestmark = needs_kernels
BLOCKS: list[Callable[[nn.Module, BlockConfig], nn.Module]] = [TransformerBlock, ConvNextBlock, ContainerBlock]
PART = torch.tensor([0.0, 2.0, 1.0])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def given(shape: tuple[int, ...], hidden: int) -> tuple[Tensor, ...]:
    """x, y, and the weights in the order of `weights_of`."""
    dim = shape[-1]
    sizes = [(hidden, dim), (hidden,), (dim, hidden), (dim,), (dim,), (dim,), (dim,)]
    return (drawn(*shape), drawn(*shape, seed=1) * 2 + 1, *(drawn(*size, seed=i + 2) for i, size in enumerate(sizes)))


def weights_of(tensors: tuple[Tensor, ...], has_norm: bool) -> Weights:
    up, up_bias, down, down_bias, scale, weight, bias = tensors
    norm = (weight, bias) if has_norm else None
    return Weights(up=up, up_bias=up_bias, down=down, down_bias=down_bias, scale=scale, norm=norm, eps=0.1)


def ours(x: Tensor, y: Tensor, *tensors: Tensor, has_norm: bool = True, is_one: bool = False) -> Tensor:
    inputs = x if is_one else y
    found = residual_mlp_training(x, inputs, weights_of(tensors, has_norm), PART[: len(x)].to(x.dtype))
    # all that is given has a gradient, also where it is not used
    return found + 0 * sum(tensor.sum() for tensor in (y, *tensors))


def plain(x: Tensor, y: Tensor, *tensors: Tensor, has_norm: bool = True, is_one: bool = False) -> Tensor:
    up, up_bias, down, down_bias, scale, weight, bias = tensors
    tokens = x if is_one else y
    if has_norm:
        tokens = F.layer_norm(tokens, tokens.shape[-1:], weight, bias, 0.1)
    units = F.gelu(tokens @ up.t() + up_bias) @ down.t() + down_bias
    part = PART[: len(x)].to(x.dtype).view(-1, *[1] * (x.ndim - 1))
    return x + part * scale * units + 0 * sum(tensor.sum() for tensor in (y, *tensors))


FORMS = pytest.mark.parametrize(("has_norm", "is_one"), [(True, True), (True, False), (False, True), (False, False)])


@FORMS
def test_derivatives_are_the_numerical_ones(has_norm: bool, is_one: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlp_training, "PART", 4)
    tensors = given((3, 2, 5), 7)
    require_derivatives(lambda *inputs: ours(*inputs, has_norm=has_norm, is_one=is_one), tensors)


@FORMS
@pytest.mark.parametrize(
    ("shape", "hidden"), [((3, 31, 16), 32), ((2, 3, 7, 33), 70), ((1, 1, 1), 1), ((3, 100, 64), 17)]
)
def test_it_is_the_formula_in_single_precision(
    shape: tuple[int, ...], hidden: int, has_norm: bool, is_one: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlp_training, "PART", 40)
    tensors = given(shape, hidden)
    scaled = (*tensors[:2], tensors[2] / shape[-1] ** 0.5, tensors[3], tensors[4] / hidden**0.5, *tensors[5:])
    require_same_as(
        lambda *inputs: ours(*inputs, has_norm=has_norm, is_one=is_one),
        lambda *inputs: plain(*inputs, has_norm=has_norm, is_one=is_one),
        scaled,
    )


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_give_the_same(threads: int) -> None:
    before, tensors = torch.get_num_threads(), given((3, 101, 24), 40)
    expected = differentiated(ours, tensors)
    torch.set_num_threads(threads)
    try:
        found = differentiated(ours, tensors)
    finally:
        torch.set_num_threads(before)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize("wanted", range(9))
def test_a_gradient_that_nobody_wants_is_not_needed(wanted: int) -> None:
    tensors = given((2, 9, 8), 12)
    expected = differentiated(ours, tensors)[wanted + 1]
    inputs = [tensor.requires_grad_(index == wanted) for index, tensor in enumerate(tensors)]
    y = ours(*inputs)
    (found,) = torch.autograd.grad(y, [inputs[wanted]], torch.arange(y.numel(), dtype=y.dtype).view(y.shape).sin())
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_far_from_zero_gelu_is_flat() -> None:
    x = torch.tensor([[[-1e4, -30.0, 30.0, 1e4]]])
    one = torch.eye(4)
    zeros, ones = torch.zeros(4), torch.ones(4)
    weights = Weights(up=one, up_bias=zeros, down=one, down_bias=zeros, scale=ones, norm=None, eps=0.0)
    x.requires_grad_()
    y = residual_mlp_training(torch.zeros_like(x), x, weights)
    (gradient,) = torch.autograd.grad(y.sum(), [x])
    assert y.flatten().tolist() == [0, 0, 30, 1e4]
    assert gradient.flatten().tolist() == [0, 0, 1, 1]


def built(kind: Callable[[nn.Module, BlockConfig], nn.Module] = TransformerBlock, **changes: object) -> nn.Module:
    """A block around a mixer that does nothing, in training."""
    options = {"dim": 40, "mlp_ratio": 3, "norm_eps": 1e-5, "drop_path": 0.5, "scale": 1.0, **changes}
    block = kind(nn.Identity(), BlockConfig(**options)).train()
    with torch.no_grad():
        for seed, parameter in enumerate(block.parameters()):
            parameter.copy_(drawn(*parameter.shape, seed=seed) * 0.3)
    return block


def images() -> Tensor:
    return drawn(9, 16, 16, 40) * 3 + 1


def calls_of(block: nn.Module, x: Tensor) -> dict[str, int]:
    with setting.counted() as calls:
        block(x)
    return dict(calls)


def step(block: nn.Module, x: Tensor) -> list[Tensor]:
    """The same images dropped each time."""
    torch.manual_seed(3)
    parameters = tuple(block.parameters())
    x = x.detach().requires_grad_()
    y = block(x)
    gradients = torch.autograd.grad(y.sin().sum(), [x, *parameters])
    return [y.detach(), *gradients, torch.rand(2)]


@pytest.mark.parametrize("kind", BLOCKS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("scale", [1.0, None])
@pytest.mark.parametrize("is_training", [True, False])
def test_a_block_gives_what_its_parts_give(
    kind: Callable[[nn.Module, BlockConfig], nn.Module],
    scale: float | None,
    is_training: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocks, "ENOUGH_IN_TRAINING", 2**15)
    block, x = built(kind, scale=scale).train(is_training), images()
    calls = calls_of(block, x)
    assert calls["residual_mlp_training"] == 1
    assert calls.get("scaled_residual", 0) == int(scale is not None and kind is not ConvNextBlock)
    found = step(block, x)
    monkeypatch.setenv(VARIABLE, "off")
    assert not calls_of(block, x)
    for one, other in zip(found, step(block, x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_an_image_is_dropped_whole_or_not_at_all() -> None:
    block, x = built(drop_path=0.9, dim=64), drawn(64, 8, 8, 64)
    with torch.no_grad():
        y = block(x)
    same = (y == x).flatten(1)
    assert (same.all(1) | ~same.any(1)).all()
    assert same.all(1).any()


def test_checkpointing_gives_the_same() -> None:
    block, x = built(), images()
    expected = step(block, x)
    stage = blocks.Stage([block], None, nn.Identity()).train()
    stage.grad_checkpointing = True
    for one, other in zip(step(stage, x), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


CHANGES: dict[str, Callable[[TransformerBlock], object]] = {
    "float64": lambda block: block.double(),
    "half": lambda block: block.bfloat16(),
    "norm replaced": lambda block: setattr(block, "norm2", nn.Identity()),
    "layer replaced": lambda block: setattr(block.mlp, "fc1", nn.Sequential(block.mlp.fc1)),
    "layer without a bias": lambda block: setattr(block.mlp, "fc2", nn.Linear(120, 40, bias=False)),
    "scale of one number": lambda block: setattr(block.branch2, "scale", nn.Parameter(torch.ones(1))),
    "drop path replaced": lambda block: setattr(block.branch2.drop_path, "forward", lambda x: x),
    "watched": lambda block: block.mlp.fc1.register_forward_hook(lambda *_: None),
    "watched backwards": lambda block: block.mlp.register_full_backward_hook(lambda *_: None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_it_leaves_a_changed_block_alone(change: str) -> None:
    block = built()
    assert isinstance(block, TransformerBlock)
    CHANGES[change](block)
    assert "residual_mlp_training" not in calls_of(block, images().to(block.norm1.weight.dtype))


def test_it_runs_in_no_small_or_narrow_map_and_no_autocast() -> None:
    block, x = built(), images()
    assert "residual_mlp_training" in calls_of(block, x)
    assert not calls_of(block, x[:1])
    assert "residual_mlp_training" not in calls_of(built(dim=16), drawn(64, 16, 16, 16))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not calls_of(block, x)
    with torch.device("cpu"):
        assert "residual_mlp_training" in calls_of(block, x)


def test_dropping_without_a_gradient_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    block, x = built().requires_grad_(False), images()
    torch.manual_seed(0)
    found = block(x)
    monkeypatch.setenv(VARIABLE, "off")
    torch.manual_seed(0)
    torch.testing.assert_close(found, block(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [blocks.Mlp, nn.Linear, blocks.Branch, type(blocks.drop_path(0.0))])
def test_it_leaves_changed_classes_alone(kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    block, x = built(), images()
    monkeypatch.setattr(kind, "forward", lambda *given: given[1] * 2)
    assert "residual_mlp_training" not in calls_of(block, x)
    assert "scaled_residual" not in calls_of(block, x)
    monkeypatch.undo()
    assert "residual_mlp_training" in calls_of(block, x)


@pytest.mark.parametrize("part", ["mlp", "branch2"])
def test_a_part_may_be_another_module(part: str) -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
            return x if y is None else x + y

    block = built()
    setattr(block, part, Sum())
    assert "residual_mlp_training" not in calls_of(block, images())


def test_one_dimension_is_no_map() -> None:
    branch = blocks.Branch(BlockConfig(dim=2**18, mlp_ratio=1, norm_eps=1e-6, drop_path=0.0, scale=0.5))
    x = drawn(2**18)
    torch.testing.assert_close(branch(x, x), x * 1.5)
