"""Adaptive Fourier neural operator: a small MLP on the channels of every frequency.

Guibas et al., "Adaptive Fourier Neural Operators: Efficient Token Mixers for Transformers", ICLR 2022, section 4. With
F the real Fourier transform over the map, and complex weights in `blocks` blocks on the diagonal, the same for every
frequency,

    Y = X + F^-1 shrink(W_2 relu(W_1 F X + b_1) + b_2)

where relu and shrink (soft, towards 0 by `threshold`) treat real and imaginary parts by themselves. The input that the
authors add inside is in addition to a network's own residual; `residual=False` leaves it out. Their `fraction` of kept
modes is one of N // 2 + 1, but is taken of the W // 2 + 1 columns: at H = 14, all are kept down to a fraction of about
1 / 14.
"""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops import without_autocast
from stmbench.mixers.ops.fourier import from_spectrum, inverse_reference, spectrum, spectrum_reference


@dataclasses.dataclass(frozen=True, kw_only=True)
class AfnoConfig(MixerConfig):
    """`blocks` blocks that divide `dim`, `expansion` times wider in between."""

    blocks: int = 8
    expansion: int = 1
    threshold: float = 0.01
    fraction: float = 1.0
    residual: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.blocks >= 1 and self.dim % self.blocks == 0, f"blocks that divide dim {self.dim}", self.blocks)
        require(self.expansion >= 1, "expansion >= 1", self.expansion)
        require(self.threshold >= 0, "threshold >= 0", self.threshold)
        require(0 < self.fraction <= 1, "0 < fraction <= 1", self.fraction)


def config_at(
    position: BlockPosition,
    *,
    blocks: int = 8,
    expansion: int = 1,
    threshold: float = 0.01,
    fraction: float = 1.0,
    residual: bool = True,
) -> AfnoConfig:
    """The same everywhere."""
    return AfnoConfig(
        dim=position.dim,
        blocks=blocks,
        expansion=expansion,
        threshold=threshold,
        fraction=fraction,
        residual=residual,
    )


@register_mixer(
    "afno",
    config=AfnoConfig,
    config_at=config_at,
    title="Adaptive Fourier Neural Operator",
    abbreviation="AFNO",
    family="Frequency Filter",
    sampling="global",
    weights="dynamic",
    method="AFNO",
    citation="Guibas et al., ICLR 2022",
    channel_multiple=8,
    palette_slot=42,
    presets=presets.matched((2, 2, 11, 2), (2, 2, 7, 2), micro_dims=(40, 80, 160, 320), tiny_dims=(112, 224, 448, 896)),
)
class Afno(Mixer):
    """(B, H, W, C) -> (B, H, W, C), in float32 at least; borders wrap around.

    It has no affinity: relu and shrink make it a nonlinear function of the frequencies.
    """

    config: AfnoConfig

    def __init__(self, config: AfnoConfig) -> None:
        super().__init__()
        self.config = config
        blocks, size = config.blocks, config.dim // config.blocks
        hidden = size * config.expansion
        # the first axis holds real and imaginary part
        self.w1 = nn.Parameter(0.02 * torch.randn(2, blocks, size, hidden))
        self.b1 = nn.Parameter(0.02 * torch.randn(2, blocks, hidden))
        self.w2 = nn.Parameter(0.02 * torch.randn(2, blocks, hidden, size))
        self.b2 = nn.Parameter(0.02 * torch.randn(2, blocks, size))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        batch, height, width, dim = x.shape
        kept = self._kept(height, width)
        with without_autocast(x.device):
            parts = torch.view_as_real(spectrum(x)[:, :, :kept])  # B, H, kept, C, 2
            parts = parts.reshape(-1, self.config.blocks, 2 * dim // self.config.blocks).transpose(0, 1)
            parts = F.relu(torch.baddbmm(_pairs(self.b1, parts), parts, _products(self.w1, parts)))
            parts = torch.baddbmm(_pairs(self.b2, parts), parts, _products(self.w2, parts))
            parts = F.softshrink(parts, self.config.threshold).transpose(0, 1)
            coefficients = torch.view_as_complex(parts.reshape(batch, height, kept, dim, 2))
            coefficients = F.pad(coefficients, (0, 0, 0, width // 2 + 1 - kept))
            y = from_spectrum(coefficients, width).to(x.dtype)
        return x + y if self.config.residual else y

    def reference(self, x: Tensor) -> Tensor:
        """The same map in complex numbers, with transforms as sums."""
        height, width = x.shape[1:3]
        modes = spectrum_reference(x).view(
            len(x), height, -1, self.config.blocks, self.config.dim // self.config.blocks
        )
        for weights, bias in ((self.w1, self.b1), (self.w2, self.b2)):
            product = torch.einsum("bklgi,gio->bklgo", modes, weights[0] + 1j * weights[1])
            modes = product + bias[0] + 1j * bias[1]
            if weights is self.w1:
                modes = torch.complex(modes.real.relu(), modes.imag.relu())
        shrunk = [part.sign() * (part.abs() - self.config.threshold).relu() for part in (modes.real, modes.imag)]
        modes = torch.complex(*shrunk).flatten(3)
        column = torch.arange(width // 2 + 1, device=x.device)
        modes = modes * (column < int((height * width // 2 + 1) * self.config.fraction))[:, None]
        y = inverse_reference(modes, width)
        return x + y if self.config.residual else y

    def macs(self, height: int, width: int) -> int:
        """1.25 N C log2 N for each transform, 8 C^2 expansion / blocks for each mode, H (W // 2 + 1) of them."""
        dim, tokens = self.config.dim, height * width
        modes = height * self._kept(height, width)
        products = 8 * modes * dim * self.config.expansion * dim // self.config.blocks
        return 2 * round(1.25 * tokens * dim * math.log2(tokens)) + products

    def _kept(self, height: int, width: int) -> int:
        """Columns of frequencies that are not set to zero."""
        return min(width // 2 + 1, int((height * width // 2 + 1) * self.config.fraction))


def _pairs(bias: Tensor, like: Tensor) -> Tensor:
    """(2, blocks, out) -> (blocks, 1, 2 out): pairs of real and imaginary part."""
    return bias.permute(1, 2, 0).flatten(1)[:, None].to(like.dtype)


def _products(weights: Tensor, like: Tensor) -> Tensor:
    """(2, blocks, in, out) complex -> (blocks, 2 in, 2 out) real: the same product, of pairs."""
    real, imaginary = weights.to(like.dtype).unbind(0)
    of_real, of_imaginary = torch.stack((real, imaginary), dim=3), torch.stack((-imaginary, real), dim=3)
    return torch.stack((of_real, of_imaginary), dim=2).flatten(3).flatten(1, 2)
