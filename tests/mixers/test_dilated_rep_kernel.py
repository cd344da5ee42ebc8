"""UniRepLKNet's dilated branches: written out, merged, by stage, and what the config refuses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.checkpoints import load_checkpoint
from stmbench.errors import ConfigError
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.mixers.dilated_rep_kernel import BESIDE, DilatedRepKernel, DilatedRepKernelConfig


def _published(dim: int, kernel: int) -> dict[str, Tensor]:
    """A state dict under the authors' names."""
    generator = torch.Generator().manual_seed(0)
    layers = {"lk_origin": "origin_bn"} | {f"dil_conv_k{k}_{d}": f"dil_bn_k{k}_{d}" for k, d in BESIDE[kernel]}
    state = {}
    for conv, norm in layers.items():
        side = kernel if conv == "lk_origin" else int(conv.removeprefix("dil_conv_k").partition("_")[0])
        state[f"{conv}.weight"] = torch.randn(dim, 1, side, side, generator=generator, dtype=torch.float64)
        for name in ("weight", "bias", "running_mean", "running_var"):
            state[f"{norm}.{name}"] = 0.5 + torch.rand(dim, generator=generator, dtype=torch.float64)
    return state


def _as_written(state: dict[str, Tensor], kernel: int, x: Tensor) -> Tensor:
    """The authors' formula, channels first."""
    total = torch.zeros_like(x)
    for side, dilation in ((kernel, 1), *BESIDE[kernel]):
        first = side == kernel
        conv = "lk_origin" if first else f"dil_conv_k{side}_{dilation}"
        norm = "origin_bn" if first else f"dil_bn_k{side}_{dilation}"
        padding = (dilation * (side - 1) + 1) // 2
        y = F.conv2d(x, state[f"{conv}.weight"], padding=padding, dilation=dilation, groups=x.shape[1])
        mean, variance = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        total = total + F.batch_norm(y, mean, variance, state[f"{norm}.weight"], state[f"{norm}.bias"], eps=1e-5)
    return total


@pytest.mark.parametrize("kernel", BESIDE)
def test_it_is_the_sum_of_the_authors_branches_and_so_is_the_merged_form(kernel: int) -> None:
    mixer = DilatedRepKernel(DilatedRepKernelConfig(dim=6, kernel=kernel)).double().eval()
    state = _published(6, kernel)
    load_checkpoint(mixer, state)
    x = torch.randn(2, 9, 15, 6, dtype=torch.float64)
    expected = _as_written(state, kernel, x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    with torch.inference_mode():
        assert torch.allclose(mixer(x), expected, rtol=0, atol=1e-10)
        assert torch.allclose(mixer.merge()(x), expected, rtol=0, atol=1e-10)


def test_a_kernel_of_13_has_282_parameters_for_each_channel() -> None:
    mixer = DilatedRepKernel(DilatedRepKernelConfig(dim=10))
    assert sum(p.numel() for p in mixer.parameters()) == 282 * 10
    assert sum(p.numel() for p in mixer.merge().parameters()) == (13**2 + 1) * 10
    assert not any(isinstance(module, nn.Linear) for module in mixer.modules())


def test_small_kernels_in_the_first_stage_and_every_second_block_of_the_third() -> None:
    at = MIXERS.get("dilated_rep_kernel").config_at
    places = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1)]
    positions = [BlockPosition(stage=stage, block=block, dim=8, resolution=(14, 14)) for stage, block in places]
    sides = [at(position).kernel for position in positions]  # type: ignore[attr-defined]
    assert sides == [3, 3, 13, 13, 13, 3, 13, 13, 13]
    assert at(positions[0], kernel=17).kernel == 17  # type: ignore[attr-defined]


@pytest.mark.parametrize("kernel", [0, 4, 19])
def test_unknown_kernels_are_refused(kernel: int) -> None:
    with pytest.raises(ConfigError, match=r"an odd kernel|a kernel of 17, 15"):
        DilatedRepKernelConfig(dim=8, kernel=kernel)


def test_it_compiles_to_one_graph() -> None:
    mixer, x = DilatedRepKernel(DilatedRepKernelConfig(dim=8)), torch.randn(2, 7, 9, 8)
    compiled = torch.compile(mixer.eval(), fullgraph=True, backend="eager")
    assert torch.allclose(compiled(x), mixer(x), atol=1e-5)


def test_norms_that_are_not_fixed_are_asked_themselves() -> None:
    mixer = DilatedRepKernel(DilatedRepKernelConfig(dim=6, kernel=9)).eval()
    x, seen = torch.randn(3, 10, 7, 6), list[int]()
    with torch.autocast("cpu", torch.bfloat16):
        assert mixer(x).dtype == torch.bfloat16
    norm = next(module for module in mixer.modules() if isinstance(module, nn.BatchNorm2d))
    handle = norm.register_forward_hook(lambda *_: seen.append(1))
    mixer(x)
    assert seen == [1]
    handle.remove()
    norm.train()
    before = norm.running_mean.clone() if norm.running_mean is not None else None
    mixer(x)
    assert before is not None
    assert norm.running_mean is not None
    assert not torch.equal(norm.running_mean, before), "statistics are gathered anew"


@pytest.mark.parametrize("is_training", [True, False])
def test_branches_and_their_norms_in_both_modes(is_training: bool) -> None:
    mixer = DilatedRepKernel(DilatedRepKernelConfig(dim=6, kernel=9)).double()
    load_checkpoint(mixer, _published(6, 9))
    mixer.train(is_training)
    x = torch.randn(3, 10, 7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    ours, expected = (
        torch.autograd.grad(f(x).square().sum(), [x, *mixer.parameters()]) for f in (mixer, mixer.reference)
    )
    torch.testing.assert_close(mixer(x), mixer.reference(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)
