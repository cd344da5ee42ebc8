"""An MLP with its norm and its residual in one kernel: the numbers of its parts, and where it leaves them alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode

from stmbench.architectures.blocks import BlockConfig, ConvNextBlock, TransformerBlock
from stmbench.architectures.container import ContainerBlock
from stmbench.kernels import mlp as kernels
from stmbench.kernels import setting
from stmbench.kernels.library import VARIABLE, call
from tests.kernels import needs_kernels, require_same_by_default_dtype

BLOCKS: list[Callable[[nn.Module, BlockConfig], nn.Module]] = [TransformerBlock, ConvNextBlock, ContainerBlock]
WHAT = pytest.mark.parametrize("kind", BLOCKS, ids=lambda kind: kind.__name__)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def built(kind: Callable[[nn.Module, BlockConfig], nn.Module] = TransformerBlock, **changes: object) -> nn.Module:
    """A block around a mixer that does nothing, in eval mode, whose weights all count."""
    config = BlockConfig(**{"dim": 40, "mlp_ratio": 3, "norm_eps": 1e-5, "drop_path": 0.5, "scale": 1.0, **changes})
    block = kind(nn.Identity(), config).eval().requires_grad_(False)
    for seed, parameter in enumerate(block.parameters()):
        parameter.copy_(drawn(*parameter.shape, seed=seed) * 0.3)
    return block


def images() -> Tensor:
    """(4, 15, 15, 40): 900 tokens, not a multiple of four in the last part."""
    return drawn(4, 15, 15, 40) * 3 + 1


def runs(block: nn.Module, x: Tensor) -> int:
    with setting.counted() as calls:
        block(x)
    return calls["residual_mlp"]


@needs_kernels
@pytest.mark.parametrize("has_norm", [True, False])
@pytest.mark.parametrize(("tokens", "dim", "hidden"), [(1, 5, 7), (6, 33, 70), (203, 64, 256), (64, 1, 1), (0, 8, 8)])
def test_it_is_the_formula(tokens: int, dim: int, hidden: int, has_norm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "PART", 50)
    x, y = drawn(tokens, dim, seed=1), drawn(tokens, dim, seed=2) * 2 + 1
    up, down = drawn(hidden, dim, seed=3) / dim**0.5, drawn(dim, hidden, seed=4) / hidden**0.5
    up_bias, down_bias, scale, weight, bias = (drawn(size, seed=size + 5) for size in (hidden, dim, dim, dim, dim))
    norm = (weight, bias) if has_norm else None
    weights = kernels.Weights(up=up, up_bias=up_bias, down=down, down_bias=down_bias, scale=scale, norm=norm, eps=0.1)
    assert weights.fit(x, y)
    found = kernels.residual_mlp(x, y, weights)
    given = y.double()
    if has_norm:
        given = F.layer_norm(given, (dim,), weight.double(), bias.double(), 0.1)
    units = F.gelu(given @ up.double().t() + up_bias.double())
    expected = x.double() + scale.double() * (units @ down.double().t() + down_bias.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@needs_kernels
def test_gelu_is_as_close_as_single_precision_allows() -> None:
    x = torch.linspace(-12, 12, 200_001)[:, None]
    y = torch.empty_like(x)
    call("gelu_of", (x, torch.zeros(1), y), y.shape)
    error = (y.double() - F.gelu(x.double())).abs() / x.double().abs().clamp(min=0.1)
    assert error.max() < 1.5e-7
    assert (y[x < -6] == 0).all()  # no share of a large number
    bounds = torch.tensor([[torch.nan, -1e30, 1e30]])
    call("gelu_of", (bounds, torch.zeros(3), bounds), bounds.shape)
    assert bounds[0, 0].isnan()
    assert bounds[0, 1:].tolist() == [0, torch.tensor(1e30).item()]


@needs_kernels
@WHAT
@pytest.mark.parametrize("scale", [1.0, None])
def test_a_block_gives_what_its_parts_give(
    kind: Callable[[nn.Module, BlockConfig], nn.Module], scale: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    block, x = built(kind, scale=scale), images()
    assert runs(block, x) == 1
    ours = block(x)
    monkeypatch.setenv(VARIABLE, "off")
    assert runs(block, x) == 0
    torch.testing.assert_close(ours, block(x), rtol=2e-6, atol=2e-5)


@needs_kernels
def test_a_default_dtype_changes_nothing() -> None:
    block, x = built(), images()
    require_same_by_default_dtype(block, x, block(x))


@needs_kernels
def test_images_one_by_one_and_permuted() -> None:
    block, x = built(), images()
    torch.testing.assert_close(block(x)[:1], block(x[:1].repeat(4, 1, 1, 1))[:1], rtol=0, atol=1e-5)
    moved = x.transpose(1, 2)  # not contiguous
    assert runs(block, moved) == 1
    torch.testing.assert_close(block(moved), block(moved.contiguous()), rtol=0, atol=0)


def watch(block: TransformerBlock, part: str) -> None:
    block.get_submodule(part).register_forward_hook(lambda *_: None)


CHANGES: dict[str, Callable[[TransformerBlock], object]] = {
    "training": lambda block: block.train(),
    "gradient": lambda block: block.requires_grad_(),
    "float64": lambda block: block.double(),
    "half": lambda block: block.bfloat16(),
    "norm replaced": lambda block: setattr(block, "norm2", nn.Identity()),
    "layer replaced": lambda block: setattr(block.mlp, "fc1", nn.Sequential(block.mlp.fc1)),
    "layer without a bias": lambda block: setattr(block.mlp, "fc2", nn.Linear(120, 40, bias=False)),
    "layer of one output": lambda block: setattr(block.mlp, "fc2", nn.Linear(120, 1)),
    "bias of one number": lambda block: setattr(block.mlp.fc1, "bias", nn.Parameter(torch.ones(1))),
    "scale of one number": lambda block: setattr(block.branch2, "scale", nn.Parameter(torch.ones(1))),
    "norm of rows": lambda block: setattr(block, "norm2", nn.LayerNorm((15, 40))),
    "compiled": lambda block: block.mlp.compile(backend="eager"),
    "forward replaced": lambda block: setattr(block.mlp, "forward", lambda x: x),
    **{f"{part} watched": lambda block, part=part: watch(block, part)
       for part in ("norm2", "mlp", "mlp.fc1", "mlp.fc2", "branch2")},
}  # fmt: skip


@needs_kernels
@pytest.mark.parametrize("change", CHANGES)
def test_it_leaves_a_changed_block_alone(change: str) -> None:
    block = built()
    assert isinstance(block, TransformerBlock)
    CHANGES[change](block)
    block.requires_grad_(change == "gradient")
    assert runs(block, images().to(block.mlp.fc2.weight.dtype)) == 0


@needs_kernels
def test_it_takes_no_mean_of_a_map_for_a_map() -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((1, 2), keepdim=True)  # which the residual repeats

    block = ConvNextBlock(Mean(), BlockConfig(dim=40, mlp_ratio=3, norm_eps=1e-5, drop_path=0.0)).eval()
    with torch.no_grad():
        assert runs(block, images()) == 0


@needs_kernels
def test_a_negative_view_is_negative() -> None:
    block, x = built(ConvNextBlock), images()
    torch.testing.assert_close(block(torch._neg_view(x)), block(-x), rtol=2e-6, atol=2e-5)


@needs_kernels
def test_a_mode_that_replaces_functions_does() -> None:
    class Without(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return args[0] if func is F.gelu else func(*args, **(kwargs or {}))

    block, x = built(), images()
    with Without():
        assert runs(block, x) == 0
    with torch.device("cpu"):
        assert runs(block, x) == 1
    graph = make_fx(block, pre_dispatch=True)(x)
    torch.testing.assert_close(graph(-x), block(-x), rtol=2e-6, atol=2e-5)


@needs_kernels
def test_a_hook_sees_every_token_once() -> None:
    block, seen = built(), []
    block.get_submodule("mlp.fc1").register_forward_hook(lambda _, given, __: seen.append(given[0].shape))
    block(images())
    assert seen == [(4, 15, 15, 40)]
    everywhere = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module)))
    try:
        fresh = built()
        fresh(images())
    finally:
        everywhere.remove()
    assert seen.count(nn.Linear) == 2


@pytest.mark.filterwarnings("ignore:`torch.jit.trace")
@needs_kernels
def test_it_runs_in_no_autocast_graph_or_small_map() -> None:
    block, x = built(), images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert runs(block, x) == 0
    assert runs(block, x[:1, :3, :3]) == 0
    assert runs(block, x.requires_grad_()) == 0
    with setting.counted() as calls:
        torch.jit.trace(block, x.detach(), check_trace=False)
    assert not calls
    compiled = torch.compile(block, backend="eager", fullgraph=True)
    with torch.no_grad():
        assert runs(compiled, x) == 0
        assert runs(block, x) == 1
    with torch.inference_mode():
        assert runs(block, x) == 1
