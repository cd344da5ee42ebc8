"""Layers that are trained with BatchNorm, in branches, and deployed as one: structural re-parameterisation.

Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", CVPR 2021, section 3.3. In eval mode BatchNorm is an
affine map of each channel, so that it goes into the layer before it, and depthwise kernels whose outputs are summed
become one. In training mode the statistics are those of the batch: there is nothing to merge.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from stmbench.kernels.setting import WHOLE
from stmbench.mixers.ops import is_eager_on_cpu, is_unchanged
from stmbench.mixers.ops.depthwise import DepthwiseConv

M = TypeVar("M", bound=nn.Module)
Branches = tuple[tuple[int, int], ...]  # (side of the kernel, dilation) of each; the others fit into the first


class KernelBranches(nn.Module):
    """(B, H, W, C) -> (B, H, W, C): the sum of depthwise convolutions, each with a BatchNorm of its own."""

    def __init__(self, dim: int, branches: Branches) -> None:
        super().__init__()
        self.convs = nn.ModuleList(DepthwiseConv(dim, kernel, dilation, bias=False) for kernel, dilation in branches)
        self.norms = nn.ModuleList(nn.BatchNorm2d(dim) for _ in branches)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        in_full = x.dtype in WHOLE and not torch.is_autocast_enabled("cpu")
        if in_full and is_eager_on_cpu(x) and all(map(_is_fixed, self.norms)):
            return self._with_fixed_norms(x)
        total: Tensor | None = None
        for conv, norm in zip(self.convs, self.norms, strict=True):  # one by one: their memory is used again
            branch: Tensor = norm(conv(x).permute(0, 3, 1, 2))
            total = branch if total is None else total + branch
        assert total is not None
        return total.permute(0, 2, 3, 1)

    def _with_fixed_norms(self, x: Tensor) -> Tensor:
        """The same, with one pass over memory for a branch's norm and its place in the sum."""
        affines = [affine(norm, x.dtype) for norm in self.norms]
        total = torch.stack([shift for _, shift in affines]).sum(0)
        for conv, (scale, _) in zip(self.convs, affines, strict=True):
            total = torch.addcmul(total, conv(x), scale)
        return total

    def reference(self, x: Tensor) -> Tensor:
        """The same map as sums over the taps."""
        pairs = zip(self.convs, self.norms, strict=True)
        mixed = [norm(conv.reference(x).permute(0, 3, 1, 2)) for conv, norm in pairs]  # type: ignore[operator]
        return torch.stack(mixed).sum(0).permute(0, 2, 3, 1)

    def kernel(self) -> tuple[Tensor, Tensor]:
        """(C, K, K) and (C,): the kernel and the bias that do the same in eval mode, in float64."""
        side = self._layers()[0].kernel_size[0]
        kernel = torch.zeros(len(self._layers()[0].weight), side, side, dtype=torch.float64, device=self._device())
        bias = kernel.new_zeros(len(kernel))
        for conv, norm in zip(self._layers(), self.norms, strict=True):
            scale, shift = affine(norm)
            step = conv.dilation[0]
            first = side // 2 - step * (conv.kernel_size[0] // 2)  # the centres lie on each other
            taps = slice(first, side - first, step)
            kernel[:, taps, taps] = kernel[:, taps, taps] + scale[:, None, None] * conv.weight[:, 0]
            bias = bias + shift
        return kernel, bias

    def merged(self) -> DepthwiseConv:
        """One convolution for eval mode, of new tensors."""
        kernel, bias = self.kernel()
        return _filled(DepthwiseConv(len(kernel), kernel.shape[1]), kernel[:, None], bias, like=self.convs[0])

    def _layers(self) -> list[DepthwiseConv]:
        return [conv for conv in self.convs if isinstance(conv, DepthwiseConv)]

    def _device(self) -> torch.device:
        return self._layers()[0].weight.device


class NormedLinear(nn.Module):
    """(B, H, W, C) -> (B, H, W, C): a projection without bias, and BatchNorm."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(dim, dim, bias=False), nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        y: Tensor = self.norm(self.linear(x).permute(0, 3, 1, 2))
        return y.permute(0, 2, 3, 1)

    def merged(self) -> nn.Linear:
        """One projection for eval mode, of new tensors."""
        scale, shift = affine(self.norm)
        weight = scale[:, None] * self.linear.weight
        return _filled(nn.Linear(weight.shape[1], weight.shape[0]), weight, shift, like=self.linear)


def _is_fixed(norm: nn.Module) -> bool:
    """Whether a norm is an affine map that nobody watches: in eval mode, with statistics of its own."""
    if not is_unchanged(norm, nn.BatchNorm2d):
        return False
    assert isinstance(norm, nn.BatchNorm2d)
    return norm.affine and norm.running_var is not None and not norm.training


def affine(norm: nn.Module, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Factor and summand (C,) of a BatchNorm in eval mode."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight.to(dtype) / (norm.running_var.to(dtype) + norm.eps).sqrt()
    return scale, norm.bias.to(dtype) - norm.running_mean.to(dtype) * scale


def _filled(layer: M, weight: Tensor, bias: Tensor, *, like: nn.Module) -> M:
    """`layer` in eval mode with these weights, of the dtype of another's, which learn if that one's do."""
    old = like.weight
    assert isinstance(old, Tensor)
    for name, tensor in (("weight", weight), ("bias", bias)):
        new = tensor.detach().to(old.dtype, copy=True)
        setattr(layer, name, nn.Parameter(new, requires_grad=old.requires_grad))
    return layer.eval()
