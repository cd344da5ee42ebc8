"""A plug-in of five mixers, each with a limit that public ones have; `load_plugin` takes it by its path."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from stmbench.mixers.base import BlockPosition, MixerConfig, ZeroGradient, register_mixer


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilterConfig(MixerConfig):
    """`size`: (H, W) of the only map."""

    size: tuple[int, int]


def filter_config(position: BlockPosition) -> FilterConfig:
    """A filter as large as the map of the position."""
    return FilterConfig(dim=position.dim, size=position.resolution)


@register_mixer(
    "grid_filter",
    config=FilterConfig,
    config_at=filter_config,
    sampling="global",
    any_size=False,
    dtypes=("float64", "float32"),  # Fourier transforms on the CPU
    zero_gradient=(
        ZeroGradient(parameter="imaginary", part="[0, 0, :], [0, -1, :], ...", reason="a real map has real sums"),
    ),
)
class GridFilter(nn.Module):
    """A product with learned weights in the frequency domain, one for each frequency of the only map that it takes."""

    def __init__(self, config: FilterConfig) -> None:
        super().__init__()
        height, width = config.size
        self.real = nn.Parameter(0.1 * torch.randn(height, width // 2 + 1, config.dim))
        self.imaginary = nn.Parameter(0.1 * torch.randn(height, width // 2 + 1, config.dim))

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.complex(self.real.to(x.dtype), self.imaginary.to(x.dtype))
        mixed: Tensor = torch.fft.irfft2(torch.fft.rfft2(x, dim=(1, 2)) * weight, s=x.shape[1:3], dim=(1, 2))
        return mixed.contiguous()


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlainConfig(MixerConfig):
    """Nothing but the channels."""


def _single(x: Tensor) -> Tensor:
    """A sum over rows as a kernel that was written for one dtype computes it."""
    if x.dtype != torch.float32:
        raise RuntimeError(f"expected scalar type Float but found {x.dtype}")
    return x.cumsum(1)


@register_mixer("single_sum", config=PlainConfig, dtypes=("float32",))
class SingleSum(nn.Module):
    """A causal mean along the rows, in float32 alone."""

    def __init__(self, config: PlainConfig) -> None:
        super().__init__()
        self.proj = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.proj(_single(x) / x.shape[1])
        return mixed


@register_mixer(
    "gpu_shift",
    config=PlainConfig,
    devices=("cuda",),
    nondeterministic_backward="atomic additions on CUDA",
)
class GpuShift(nn.Module):
    """Neighbours to the left, scaled, by a kernel that no CPU has."""

    def __init__(self, config: PlainConfig) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(config.dim))

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu":
            raise NotImplementedError("no kernel for the CPU")
        return self.scale * nn.functional.pad(x, (0, 0, 1, 0))[:, :, :-1]


@register_mixer("octet_mix", config=PlainConfig)
class OctetMix(nn.Module):
    """Eight groups of channels with a kernel each; that the width has to divide by eight is said nowhere."""

    def __init__(self, config: PlainConfig) -> None:
        super().__init__()
        self.kernels = nn.Parameter(torch.randn(8, 1, 3, 3) / 3)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, dim = x.shape
        groups = x.reshape(batch, height, width, 8, dim // 8)
        images = groups.permute(0, 4, 3, 1, 2).reshape(-1, 8, height, width)
        mixed = nn.functional.conv2d(images, self.kernels, padding=1, groups=8)
        return mixed.reshape(batch, dim // 8, 8, height, width).permute(0, 3, 4, 2, 1).reshape(x.shape)


@register_mixer("keeps_gate", config=PlainConfig, weights="dynamic")
class KeepsGate(nn.Module):
    """A gate from the mean of the map; the last gate stays on the module, for pictures, with its graph."""

    def __init__(self, config: PlainConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.dim, config.dim)
        self.scale = nn.Parameter(torch.ones(config.dim))
        self.last: dict[str, Tensor] = {"gate": self.scale.exp()}

    def forward(self, x: Tensor) -> Tensor:
        self.last["gate"] = self.gate(x.mean((1, 2), keepdim=True)).sigmoid() * self.scale
        return x * self.last["gate"]
