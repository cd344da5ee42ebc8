"""What mixers ask of a GPU, seen without one: fake CUDA tensors, and one graph for the compiler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from stmbench.architectures.catalog import create_model
from stmbench.mixers.base import MIXERS, BlockPosition, Mixer
from stmbench.mixers.ops import windows

MODELS = ("unified_{}_nano", "isotropic_{}_nano")


class HostGuard(TorchDispatchMode):
    """Collects the operations that make a GPU wait for the host: tensors that go from one device to another."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        if any(tensor.device.type != "cuda" for tensor in tensors) or "_local_scalar_dense" in str(func):
            self.found.append(str(func))
        return result


@contextmanager
def fake_cuda(module: nn.Module | None = None) -> Iterator[HostGuard]:
    """Every new tensor is a fake one that believes it is on a GPU, and the module's are moved there."""
    # PyTorch 2.5 built with CUDA aborts the process at a fake CUDA tensor where there is no GPU
    if torch.__version__ < (2, 6) and torch.version.cuda is not None and not torch.cuda.is_available():
        pytest.skip("fake CUDA tensors of this PyTorch need a GPU")
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda"):
        if module is not None:
            module.to_empty(device="cuda")
        with HostGuard() as guard:
            yield guard


def block_of(name: str) -> Mixer:
    module = MIXERS.get(name).build(BlockPosition(stage=0, block=1, dim=64, resolution=(14, 14)))
    assert isinstance(module, Mixer)
    return module


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", MIXERS.names())
def test_nothing_is_copied_between_host_and_device(name: str, train: bool) -> None:
    module = block_of(name).train(train)
    with fake_cuda(module) as guard, torch.set_grad_enabled(train):
        for size in ((14, 14), (9, 16)):
            module(torch.randn(2, *size, 64, requires_grad=train))
    assert guard.found == []


@pytest.mark.parametrize("name", ["dw_conv", "sr_attn", "container"])
@pytest.mark.parametrize("model", MODELS)
def test_no_architecture_copies_between_host_and_device(model: str, name: str) -> None:
    network = create_model(model.format(name)).eval()
    with fake_cuda(network) as guard:
        network(torch.randn(2, 3, 64, 64))
    assert guard.found == []


def test_guard_detects_a_copy() -> None:
    with fake_cuda() as guard:
        x = torch.ones(3)
        x * torch.tensor([1.0, 2.0, 3.0], device="cpu").to("cuda")
    assert guard.found


@pytest.mark.parametrize("grad", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", MIXERS.names())
def test_mixer_compiles_to_one_graph(name: str, grad: bool) -> None:
    torch._dynamo.reset()
    module, x = block_of(name).eval(), torch.randn(1, 14, 14, 64)
    compiled = torch.compile(module, backend="eager", fullgraph=True, dynamic=False)
    with torch.inference_mode(not grad):
        assert torch.allclose(compiled(x), module(x), atol=1e-5)


def test_a_fused_call_has_no_more_windows_than_a_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """In either dimension, with a bias that is shared or each window's own."""
    sizes: list[tuple[int, int]] = []
    fused = torch.nn.functional.scaled_dot_product_attention

    def recorded(q: Tensor, *rest: Any, **named: Any) -> Tensor:
        sizes.append((q.shape[0], q.shape[1]))
        return fused(q, *rest, **named)

    monkeypatch.setattr(windows, "MOST_WINDOWS", 5)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", recorded)
    torch.manual_seed(0)
    q, k, v = (torch.randn(12, 7, 4, 8) for _ in range(3))
    for shape in ((12, 7, 4, 4), (1, 7, 4, 4), (12, 1, 4, 4)):
        bias = torch.randn(shape)
        output = windows.window_attention(q, k, v, bias)
        assert torch.allclose(output, fused(q, k, v, attn_mask=bias), atol=1e-6)
    assert max(max(pair) for pair in sizes) == 5


@pytest.mark.parametrize("name", ["sw_attn", "halo_attn"])
@pytest.mark.parametrize("block", [0, 1])
def test_split_windows_equal_unsplit_ones(name: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module = MIXERS.get(name).build(BlockPosition(stage=0, block=block, dim=64, resolution=(28, 28))).eval()
    x = torch.randn(3, 28, 28, 64)
    whole = module(x)
    monkeypatch.setattr(windows, "MOST_WINDOWS", 10)
    assert torch.allclose(module(x), whole, atol=1e-6)


@pytest.mark.parametrize("name", ["mh_mlp", "mh_mlp_lr", "mlp", "mlp_lr"])
def test_a_static_matrix_is_not_copied_for_each_image(name: str) -> None:
    """No tensor of a forward pass grows as images times matrix."""
    images, tokens = 64, 28 * 28
    largest = 0

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            leaves = (leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor))
            largest = max([largest, *(leaf.numel() for leaf in leaves)])
            return result

    module = MIXERS.get(name).build(BlockPosition(stage=0, block=0, dim=32, resolution=(28, 28)))
    with torch.no_grad(), fake_cuda(module), Sizes():
        module(torch.randn(images, 28, 28, 32))
    assert largest < images * tokens * tokens / 16
