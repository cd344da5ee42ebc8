"""Recursive gated convolution: products of projections and one large depthwise convolution.

Rao et al., "HorNet: Efficient High-Order Spatial Interactions with Recursive Gated Convolutions", NeurIPS 2022, eqs. 3
to 7. For order n, with C_i = C / 2^(n-1-i) channels, narrow ones first,

    (P_0, Q) = W_in X,   Q = (Q_0, ..., Q_(n-1)),   P_(i+1) = W_i(P_i) . (s k_i * Q_i),   Y = W_out P_n

W_0 is the identity, the k_i are one K x K depthwise convolution of all of Q, and s = 1/3 scales its bias as well. There
is no activation. HorNet's orders are 2, 3, 4 and 5 from stage to stage.

HorNet-GF (`gated_conv_gf`) replaces the convolution in the last two stages (section 3.3): a norm; a 3 x 3 convolution
for one half of the channels and for the other one GFNet's filter, a product of spectra; local and global channels taken
in turn; a norm. The filter's map is a torus: borders wrap around. At other sizes than its own the learned spectrum is
resized.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, ZeroGradient, register_mixer
from stmbench.mixers.ops.depthwise import depthwise_conv
from stmbench.mixers.ops.determinism import RESIZED
from stmbench.mixers.ops.fourier import from_spectrum, spectrum
from stmbench.mixers.ops.neighbourhood_sums import kernel_sum

ORDERS = (2, 3, 4, 5)
FIRST_GLOBAL = 2  # stage, in HorNet-GF


@dataclasses.dataclass(frozen=True, kw_only=True)
class GatedConvConfig(MixerConfig):
    """Products of `order` convolutions, `kernel` x `kernel` (odd), each times `gate_scale` (s).

    `spectrum` is the size of the learned spectrum (H, W // 2 + 1), of a map of H x W, for a filter instead of the
    convolution.
    """

    order: int = 5
    kernel: int = 7
    gate_scale: float = 1 / 3
    spectrum: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.order >= 1, "order >= 1", self.order)
        require(self.kernel >= 1 and self.kernel % 2 == 1, "an odd kernel >= 1", self.kernel)
        # the two halves of a filter need an even number of channels
        multiple = 2 ** (self.order - 1) * (1 if self.spectrum is None else 2)
        require(self.dim % multiple == 0, f"dim a multiple of {multiple} for order {self.order}", self.dim)
        require(self.spectrum is None or min(self.spectrum) >= 1, "a spectrum of at least 1 x 1", self.spectrum)

    @property
    def widths(self) -> list[int]:
        """C_0, ..., C_(n-1) = C."""
        return [self.dim // 2**halvings for halvings in reversed(range(self.order))]


def config_at(
    position: BlockPosition,
    *,
    order: int | None = None,
    kernel: int = 7,
    gate_scale: float = 1 / 3,
    global_filter: bool = False,
) -> GatedConvConfig:
    """Order 2, 3, 4, 5 by stage, or `order` everywhere; with `global_filter` a filter from the third stage on."""
    height, width = position.resolution
    return GatedConvConfig(
        dim=position.dim,
        order=ORDERS[min(position.stage, len(ORDERS) - 1)] if order is None else order,
        kernel=kernel,
        gate_scale=gate_scale,
        spectrum=(height, width // 2 + 1) if global_filter and position.stage >= FIRST_GLOBAL else None,
    )


class GlobalLocalFilter(nn.Module):
    """(B, H, W, C) -> (B, H, W, C): half of the channels by a 3 x 3 convolution, half by a filter in the spectrum.

    Transforms are in float32 at least, and so is the spectrum. The imaginary part of a frequency that is its own
    conjugate has no effect.
    """

    def __init__(self, dim: int, spectrum: tuple[int, int]) -> None:
        super().__init__()
        self.pre_norm = nn.LayerNorm(dim, eps=1e-6)
        self.local = nn.Conv2d(dim // 2, dim // 2, 3, padding=1, groups=dim // 2, bias=False)
        self.spectrum = nn.Parameter(0.02 * torch.randn(dim // 2, *spectrum, 2))
        self.post_norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        size = (x.shape[1], x.shape[2])
        local, distant = self.pre_norm(x).chunk(2, dim=-1)
        local = depthwise_conv(local, self.local.weight)
        found = spectrum(distant)
        product = found * torch.view_as_complex(self.resized(size).to(found.real.dtype))
        distant = from_spectrum(product, size[1]).to(local.dtype)
        y: Tensor = self.post_norm(torch.stack((local, distant), dim=-1).flatten(3))  # local, global, local, ...
        return y

    def resized(self, size: tuple[int, int]) -> Tensor:
        """The spectrum for a map of `size`: (H, W // 2 + 1, C / 2, 2), its corners kept at the corners."""
        height, width = size[0], size[1] // 2 + 1
        fits = self.spectrum.shape[1:3] == (height, width)
        spectrum = self.spectrum if fits else resized_spectrum(self.spectrum, (height, width))
        return spectrum.permute(1, 2, 0, 3).contiguous()

    def resized_tensor(self, name: str, value: Tensor) -> Tensor | None:
        """The spectrum of another size, as for such maps."""
        if name != "spectrum" or value.ndim != 4 or len(value) != len(self.spectrum):
            return None
        return resized_spectrum(value, (self.spectrum.shape[1], self.spectrum.shape[2]))

    def reference(self, x: Tensor) -> Tensor:
        """The same map; the filter is a sum over all positions of the torus, its kernel a sum of waves."""
        height, width = x.shape[1:3]
        local, distant = self.pre_norm(x).chunk(2, dim=-1)
        local = kernel_sum(local, self.local.weight[:, 0])
        waves = self.resized((height, width))
        columns = torch.arange(width, device=x.device, dtype=x.dtype)
        rows = torch.arange(height, device=x.device, dtype=x.dtype)
        kernel = x.new_zeros(height, width, distant.shape[3])
        for row, column in itertools.product(range(height), range(width // 2 + 1)):
            phase = 2 * math.pi * (row * rows[:, None] / height + column * columns / width)
            twice = 1 if column in (0, width / 2) else 2  # the frequency and its conjugate
            real, imaginary = waves[row, column].unbind(1)
            wave = phase.cos()[..., None] * real - phase.sin()[..., None] * imaginary
            kernel = kernel + wave * twice / (height * width)
        spread = torch.zeros_like(distant)
        for down, across in itertools.product(range(height), range(width)):
            spread = spread + kernel[down, across] * distant.roll((down, across), (1, 2))
        pairs = zip(local.unbind(3), spread.unbind(3), strict=True)
        y: Tensor = self.post_norm(torch.stack([channel for pair in pairs for channel in pair], dim=3))
        return y

    def macs(self, height: int, width: int) -> int:
        """9 N C / 2 for the convolution, and 1.25 N C / 2 log2 N for each of the two transforms."""
        numbers = height * width * len(self.spectrum)
        return 9 * numbers + 2 * round(1.25 * numbers * math.log2(height * width))


def resized_spectrum(spectrum: Tensor, size: tuple[int, int]) -> Tensor:
    """(C / 2, rows, columns, 2) -> (C / 2, *size, 2), its corners kept at the corners."""
    parts = spectrum.permute(3, 0, 1, 2)  # real and imaginary, C / 2, rows, columns
    return F.interpolate(parts, size, mode="bilinear", align_corners=True).permute(1, 2, 3, 0)


@register_mixer(
    "gated_conv",
    config=GatedConvConfig,
    config_at=config_at,
    title="Recursive Gated Convolution",
    abbreviation="gnConv",
    family="Convolution",
    sampling="local",
    weights="both",
    mixing_weights=("-", "-"),  # gates and kernels are multiplied, not added
    method="HorNet",
    citation="Rao et al., NeurIPS 2022",
    channel_multiple=16,
    palette_slot=40,
    presets=presets.matched((2, 2, 13, 2), (2, 2, 7, 2), tiny_dims=(96, 192, 384, 832)),
    layouts=presets.tiny_layout((64, 128, 256, 512), (2, 3, 18, 2)),
)
class GatedConv(Mixer):
    """(B, H, W, C) -> (B, H, W, C), zero padding outside the map.

    It has no affinity: the output is a product of `order` sums over the neighbourhood, and none of them is the value
    that the others weight.
    """

    config: GatedConvConfig

    def __init__(self, config: GatedConvConfig) -> None:
        super().__init__()
        self.config = config
        widths, dim = config.widths, sum(config.widths)
        self.proj_in = nn.Linear(config.dim, 2 * config.dim)
        self.conv = self.filter = None
        if config.spectrum is None:
            self.conv = nn.Conv2d(dim, dim, config.kernel, padding=config.kernel // 2, groups=dim)
        else:
            self.filter = GlobalLocalFilter(dim, config.spectrum)
        self.gates = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(widths))
        self.proj_out = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        widths, scale = self.config.widths, self.config.gate_scale
        gate, rest = torch.split(self.proj_in(x), [widths[0], sum(widths)], dim=-1)
        if self.conv is not None:
            bias = self.conv.bias
            spread = depthwise_conv(rest, self.conv.weight * scale, None if bias is None else bias * scale)
        else:
            assert self.filter is not None
            spread = self.filter(rest) * scale
        first, *others = torch.split(spread, widths, dim=-1)
        product = gate * first
        for widen, other in zip(self.gates, others, strict=True):
            product = widen(product) * other
        y: Tensor = self.proj_out(product)
        return y

    def reference(self, x: Tensor) -> Tensor:
        """The same map, the convolution as a sum over taps, and channels found by their numbers."""
        projected, product = self.proj_in(x), None
        start = end = self.config.dim // 2 ** (self.config.order - 1)
        if self.conv is not None:
            assert self.conv.bias is not None
            spread = kernel_sum(projected[..., start:], self.conv.weight[:, 0]) + self.conv.bias
        else:
            assert self.filter is not None
            spread = self.filter.reference(projected[..., start:])
        for number in range(self.config.order):
            part = spread[..., end - start : 2 * end - start]  # widths double: 1 + 2 + 4 = 8 - 1
            factor = self.config.gate_scale * part
            product = projected[..., :start] * factor if product is None else self.gates[number - 1](product) * factor
            end = 2 * end
        y: Tensor = self.proj_out(product)
        return y

    def macs(self, height: int, width: int) -> int:
        """N (3 C^2 + sum C_i C_(i+1)) and N K^2 sum C_i, or what the filter costs."""
        widths, dim = self.config.widths, self.config.dim
        linear = 3 * dim**2 + sum(a * b for a, b in itertools.pairwise(widths))
        if self.filter is not None:
            spread = self.filter.macs(height, width)
        else:
            spread = height * width * self.config.kernel**2 * sum(widths)
        return height * width * linear + spread

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict of the authors' `gnconv`, with a convolution or with a filter."""
        own = "conv." if self.filter is None else "filter."
        names = {"pws.": "gates.", "dwconv.dw.": "filter.local.", "dwconv.complex_weight": "filter.spectrum"}
        named = {}
        for key, value in state.items():
            name = key
            for theirs, ours in {**names, "dwconv.": own}.items():
                name = ours + name.removeprefix(theirs) if name.startswith(theirs) else name
            named[name] = value[:, :, 0, 0] if value.shape[2:] == (1, 1) and name != "conv.weight" else value
        return named


@register_mixer(
    "gated_conv_gf",
    config=GatedConvConfig,
    config_at=functools.partial(config_at, global_filter=True),
    title="Recursive Gated Convolution, Global Filter",
    abbreviation="gnConv-GF",
    family="Convolution",
    palette_slot=45,
    presets=presets.matched((2, 2, 14, 2), (2, 2, 8, 2)),
    layouts=presets.tiny_layout((64, 128, 256, 512), (2, 3, 18, 2)),
    sampling="global",
    weights="both",
    mixing_weights=("-", "-"),
    method="HorNet-GF",
    citation="Rao et al., NeurIPS 2022",
    nondeterministic_backward=RESIZED,
    depends_on_n=True,
    zero_gradient=(
        ZeroGradient(
            parameter="filter.spectrum",
            part="imaginary parts of frequencies that are their own conjugates",
            reason="the filter is real",
        ),
    ),
    channel_multiple=16,
)
class GatedConvGf(GatedConv):
    """(B, H, W, C) -> (B, H, W, C): zero padding in the first two stages, borders that wrap around in the others."""
