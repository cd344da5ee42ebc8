"""Peers of newer mixers for `benchmarks/mixers.py`: timm's and Hugging Face's modules, torchvision's operators.

Where PyTorch's own operators say what the authors compute, they are the peer. The authors' modules of the others do not
install beside each other, or run on CUDA alone: see `authors_peers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.focalnet import FocalModulation
from timm.models.inception_next import InceptionDWConv2d
from timm.models.mambaout import GatedConvBlock
from timm.models.maxxvit import MaxxVitTransformerCfg, PartitionAttentionCl
from timm.models.volo import OutlookAttention
from timm.models.xcit import XCA
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from stmbench.mixers.base import BlockPosition

Peer = tuple[nn.Module, bool]  # the module, and whether it takes (B, C, H, W)


class Call(nn.Module):
    """A function of a module and its input, as a module."""

    def __init__(self, inner: nn.Module, call: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.call = inner, call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self.inner, x)


def maxvit(ours: Any, position: BlockPosition) -> dict[str, Peer]:
    config, window = ours.config, ours.config.window
    cfg = MaxxVitTransformerCfg(
        dim_head=config.dim // config.heads,
        rel_pos_type="bias_tf",
        head_first=False,
        window_size=window,
        grid_size=window,
    )
    module = PartitionAttentionCl(config.dim, config.partition, cfg)
    return {"timm PartitionAttentionCl": (Call(module, lambda m, x: m._partition_attn(x)), False)}


def focal(ours: Any, position: BlockPosition) -> dict[str, Peer]:
    return {"timm FocalModulation": (FocalModulation(position.dim, 3, ours.config.levels), True)}


def inception(ours: Any, position: BlockPosition) -> dict[str, Peer]:
    return {"timm InceptionDWConv2d": (InceptionDWConv2d(position.dim), True)}


def outlook(ours: Any, position: BlockPosition) -> dict[str, Peer]:
    module = OutlookAttention(position.dim, ours.config.heads, stride=ours.config.stride)
    return {"timm OutlookAttention": (module, False)}


def xca(ours: Any, position: BlockPosition) -> dict[str, Peer]:
    module = XCA(position.dim, num_heads=ours.config.heads, qkv_bias=True)
    return {"timm XCA": (Call(module, lambda m, x: m(x.flatten(1, 2)).view_as(x)), False)}


def gated(ours: Any, position: BlockPosition) -> dict[str, Peer]:
    block = GatedConvBlock(position.dim)
    block.norm = nn.Identity()
    return {"timm GatedConvBlock without its norm": (block, False)}


def large_kernel(ours: Any, position: BlockPosition) -> dict[str, Peer]:
    """RepLKNet's block as its authors write it, channels first."""
    dim, kernel = position.dim, ours.config.kernel

    def branch(side: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(dim, dim, side, padding=side // 2, groups=dim, bias=False), nn.BatchNorm2d(dim))

    def pointwise() -> nn.Module:
        return nn.Sequential(nn.Conv2d(dim, dim, 1, bias=False), nn.BatchNorm2d(dim))

    parts = nn.ModuleList([pointwise(), branch(kernel), branch(5), pointwise()])

    def call(m: Any, x: Tensor) -> Tensor:
        y = F.relu(m[0](x))
        out: Tensor = m[3](F.relu(m[1](y) + m[2](y)))
        return out

    return {"torch convolutions, NCHW": (Call(parts, call), True)}


def dilated(ours: Any, position: BlockPosition) -> dict[str, Peer]:
    """UniRepLKNet's block before it is merged, channels first: the large kernel and dilated ones beside it."""
    dim = position.dim

    def branch(side: int, dilation: int) -> nn.Module:
        padding = side // 2 * dilation
        conv = nn.Conv2d(dim, dim, side, padding=padding, dilation=dilation, groups=dim, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(dim))

    def call(m: Any, x: Tensor) -> Tensor:
        first, *others = m
        y: Tensor = first(x)
        for other in others:
            y = y + other(x)
        return y

    parts = nn.ModuleList(branch(*each) for each in ours.config.branches)
    return {"torch convolutions, NCHW": (Call(parts, call), True)}


def involution(ours: Any, position: BlockPosition) -> dict[str, Peer]:
    """The authors' form that needs no kernel of its own: two 1 x 1 convolutions, and `unfold`."""
    dim, config, taps = position.dim, ours.config, ours.config.kernel**2
    hidden = dim // config.reduction
    reduce = nn.Sequential(nn.Conv2d(dim, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True))
    kernels = nn.Sequential(reduce, nn.Conv2d(hidden, taps * config.groups, 1))

    def call(m: Any, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        weight = m(x).view(batch, config.groups, 1, taps, height, width)
        near = F.unfold(x, config.kernel, padding=config.kernel // 2)
        near = near.view(batch, config.groups, config.group_dim, taps, height, width)
        return (weight * near).sum(dim=3).view(x.shape)

    return {"1x1 convolutions and unfold": (Call(kernels, call), True)}


def dcnv4(ours: Any, position: BlockPosition) -> dict[str, Peer]:
    """Its sampling by torchvision's operator; the projections are ours."""
    points, groups = ours.config.kernel**2, ours.config.groups
    ones = torch.ones(position.dim, 1, ours.config.kernel, ours.config.kernel)

    def call(m: Any, x: Tensor) -> Tensor:
        batch, height, width, _ = x.shape
        given = m.offsets_weights(x)[..., : 3 * groups * points].view(batch, height, width, groups, 3 * points)
        offset = given[..., : 2 * points].flatten(3).permute(0, 3, 1, 2).contiguous()
        mask = given[..., 2 * points :].flatten(3).permute(0, 3, 1, 2).contiguous()
        value = m.proj_in(x).permute(0, 3, 1, 2).contiguous()
        y = deform_conv2d(value, offset, ones.to(x), padding=ours.config.kernel // 2, mask=mask)
        out: Tensor = m.proj_out(y.permute(0, 2, 3, 1))
        return out

    return {"torchvision deform_conv2d": (Call(ours, call), False)}


def filtered(ours: Any, position: BlockPosition) -> dict[str, Peer]:
    """GFNet's three lines, channels last."""

    def call(m: Any, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x, dim=(1, 2), norm="ortho") * m
        return torch.fft.irfft2(spectrum, s=x.shape[1:3], dim=(1, 2), norm="ortho")

    height, width = position.resolution

    class Filter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(0.02 * torch.randn(height, width // 2 + 1, position.dim, 2))

        def forward(self, x: Tensor) -> Tensor:
            return call(torch.view_as_complex(self.weight), x)

    return {"torch.fft": (Filter(), False)}


NEWER: Mapping[str, Callable[[Any, BlockPosition], dict[str, Peer]]] = {
    "maxvit_attn": maxvit,
    "focal_modulation": focal,
    "inception_dw_conv": inception,
    "outlook_attn": outlook,
    "xca": xca,
    "gated_conv_only": gated,
    "rep_large_kernel": large_kernel,
    "dilated_rep_kernel": dilated,
    "involution": involution,
    "dcnv4": dcnv4,
    "global_filter": filtered,
}
