"""Global filter: a learned complex factor for every frequency and channel.

Rao et al., "Global Filter Networks for Image Classification", NeurIPS 2021, section 3.2. With F the real Fourier
transform over the map,

    Y = F^-1 (K * F X),   K complex, H x (W // 2 + 1) x C

a circular convolution with kernels as large as the map: what leaves it on one side comes back on the other. There are
no projections. The filter is made for one size of map; for others it is interpolated (bilinear, first and last row and
column onto each other, as HorNet does with the same filter), or they are refused (`resize=False`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import CirculantAffinity, join_heads, map_columns, split_into_heads
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, ZeroGradient, register_mixer
from stmbench.mixers.ops.determinism import RESIZED
from stmbench.mixers.ops.fourier import from_spectrum, inverse_reference, spectrum, spectrum_reference
from stmbench.mixers.ops.token_sums import interpolation_matrix, require_resolution


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlobalFilterConfig(MixerConfig):
    """A filter for maps of `resolution`; `resize` allows others."""

    resolution: tuple[int, int]
    resize: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(min(self.resolution) >= 1, "a resolution of at least 1 x 1", self.resolution)


def config_at(position: BlockPosition, *, resize: bool = True) -> GlobalFilterConfig:
    """A filter for the map of the position."""
    return GlobalFilterConfig(dim=position.dim, resolution=position.resolution, resize=resize)


@register_mixer(
    "global_filter",
    config=GlobalFilterConfig,
    config_at=config_at,
    title="Global Filter",
    abbreviation="Global-Filter",
    family="Frequency Filter",
    sampling="global",
    weights="static",
    method="GFNet",
    citation="Rao et al., NeurIPS 2021",
    nondeterministic_backward=RESIZED,
    depends_on_n=True,
    zero_gradient=(
        ZeroGradient(
            parameter="filter",
            part="the imaginary part of the mean, and of the highest frequencies of even sides",
            reason="these frequencies are their own conjugates, and the transform back ignores their imaginary part",
        ),
    ),
    palette_slot=41,
    presets=presets.matched((2, 2, 10, 2), (2, 2, 6, 2), micro_dims=(42, 84, 168, 336), tiny_dims=(120, 240, 480, 960)),
    layouts=presets.tiny_layout((64, 128, 256, 512), (3, 3, 10, 3)),
)
class GlobalFilter(Mixer):
    """(B, H, W, C) -> (B, H, W, C). The number of its parameters depends on the design resolution."""

    config: GlobalFilterConfig

    def __init__(self, config: GlobalFilterConfig) -> None:
        super().__init__()
        self.config = config
        height, width = config.resolution
        # the last axis holds real and imaginary part
        self.filter = nn.Parameter(0.02 * torch.randn(height, width // 2 + 1, config.dim, 2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        height, width = x.shape[1:3]
        return from_spectrum(spectrum(x) * self._factors(height, width), width).to(x.dtype)

    def reference(self, x: Tensor) -> Tensor:
        """The same map with transforms and interpolation as sums."""
        height, width = x.shape[1:3]
        old_height, old_half = self.filter.shape[:2]
        down = interpolation_matrix(old_height, height, self.filter, corners=True)
        across = interpolation_matrix(old_half, width // 2 + 1, self.filter, corners=True)
        real, imaginary = torch.einsum("ky,lx,yxcr->klcr", down, across, self.filter).unbind(3)
        return inverse_reference(spectrum_reference(x) * (real + 1j * imaginary), width)

    def affinity(self, x: Tensor) -> CirculantAffinity:
        """(B, H, W, C) -> (B, C, H * W, H * W): every channel is a head."""
        batch, height, width, _ = x.shape
        kernels = from_spectrum(self._factors(height, width)[None], width)[0] / (height * width) ** 0.5
        columns = map_columns(height, width, device=x.device)
        return CirculantAffinity(kernels.movedim(2, 0).to(x.dtype), columns, kind="static", batch=batch)

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, C, H * W, 1)."""
        return split_into_heads(x, self.config.dim)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, C, H * W, 1) -> (B, H, W, C)."""
        return join_heads(mixed, height, width)

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """GFNet's name, of its layer or in its block, for the same tensor."""
        return {"filter" if name.endswith("complex_weight") else name: tensor for name, tensor in state.items()}

    def resized_tensor(self, name: str, value: Tensor) -> Tensor | None:
        """The filter, as for maps of another size."""
        if name != "filter" or value.ndim != 4 or value.shape[2:] != self.filter.shape[2:]:
            return None
        return _resized_filter(value, (self.filter.shape[0], self.filter.shape[1]))

    def macs(self, height: int, width: int) -> int:
        """1.25 N C log2 N for each of the two transforms; products of single elements are not counted."""
        tokens = height * width
        return 2 * round(1.25 * tokens * self.config.dim * math.log2(tokens))

    def _factors(self, height: int, width: int) -> Tensor:
        """Complex (H, W // 2 + 1, C), in float32 at least."""
        require_resolution((height, width), self.config.resolution, resize=self.config.resize, what="global filter")
        weights = self.filter.to(torch.promote_types(self.filter.dtype, torch.float32))
        if (height, width) != self.config.resolution:
            weights = _resized_filter(weights, (height, width // 2 + 1))
        return torch.view_as_complex(weights)


def _resized_filter(weights: Tensor, size: tuple[int, int]) -> Tensor:
    """(H, half, C, 2) -> (*size, C, 2)."""
    image = weights.permute(3, 2, 0, 1)  # 2, C, H, half
    image = F.interpolate(image, size, mode="bilinear", align_corners=True)
    return image.permute(2, 3, 1, 0).contiguous()
