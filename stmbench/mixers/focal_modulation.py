"""Focal modulation: the query of every token is multiplied by a summary of its surroundings.

Yang et al., "Focal Modulation Networks", NeurIPS 2022, section 3.2. With raw gates G = W_g X, one per level and token,
and c_0 = W_c X,

    c_l = GELU(dw_l(c_(l-1))),   l = 1..L      depthwise kernels without bias, larger from level to level
    z   = sum over l of G_l c_l + G_(L+1) GELU(mean of c_L over the map)
    Y   = W_out (W_q X * W_h z)

Level l's kernel has the side window + factor * (l - 1): 3, 5 (, 7) in the authors' small networks, 5, 7, 9, 11 in their
large ones, which also divide z by L + 1 (`normalize`) and put a LayerNorm before W_out (`norm`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import CascadeAffinity, map_columns, split_into_heads
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops.depthwise import DepthwiseConv
from stmbench.mixers.ops.neighbourhood_sums import kernel_sum


@dataclasses.dataclass(frozen=True, kw_only=True)
class FocalModulationConfig(MixerConfig):
    """`levels` depthwise convolutions, of `window` x `window` and then `factor` larger each; sides are odd."""

    levels: int = 2
    window: int = 3
    factor: int = 2
    normalize: bool = False
    norm: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.levels >= 1, "levels >= 1", self.levels)
        require(self.window >= 1 and self.window % 2 == 1, "an odd window >= 1", self.window)
        require(self.factor >= 0 and self.factor % 2 == 0, "an even factor >= 0", self.factor)

    @property
    def kernels(self) -> tuple[int, ...]:
        """The side of every level's kernel."""
        return tuple(self.window + self.factor * level for level in range(self.levels))


def config_at(
    position: BlockPosition,
    *,
    levels: int = 2,
    window: int = 3,
    factor: int = 2,
    normalize: bool = False,
    norm: bool = False,
) -> FocalModulationConfig:
    """The same everywhere: two levels, 3 x 3 and 5 x 5, as in FocalNet-T (SRF); (LRF) has levels=3."""
    return FocalModulationConfig(
        dim=position.dim, levels=levels, window=window, factor=factor, normalize=normalize, norm=norm
    )


@register_mixer(
    "focal_modulation",
    config=FocalModulationConfig,
    config_at=config_at,
    title="Focal Modulation",
    abbreviation="Focal-Mod",
    family="Dynamic Convolution",
    sampling="global",
    weights="both",
    method="FocalNet",
    citation="Yang et al., NeurIPS 2022",
    palette_slot=31,
    presets=presets.matched((2, 2, 9, 2), (2, 2, 7, 2), micro_dims=(36, 72, 144, 288)),
    layouts=presets.tiny_layout((96, 192, 384, 768), (2, 2, 6, 2)),
)
class FocalModulation(Mixer):
    """(B, H, W, C) -> (B, H, W, C), zero padding outside the map; the last level is the mean of the whole map.

    The affinity takes GELU(u) = u P(u), P being the normal distribution function, as u times a gate, like other weights
    that are computed from the input: the summary z is then linear in the values W_c X, channel by channel.
    """

    config: FocalModulationConfig

    def __init__(self, config: FocalModulationConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.query = nn.Linear(dim, dim)
        self.context = nn.Linear(dim, dim)
        self.gates = nn.Linear(dim, config.levels + 1)
        self.levels = nn.ModuleList(DepthwiseConv(dim, side, bias=False) for side in config.kernels)
        self.modulator = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim) if config.norm else nn.Identity()
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        y: Tensor = self.proj(self.norm(self.query(x) * self.modulator(self._summary(x))))
        return y

    def _gates(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, L + 1)."""
        gates: Tensor = self.gates(x)
        return gates / (self.config.levels + 1) if self.config.normalize else gates

    def _summary(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> z, (B, H, W, C)."""
        gates, context = self._gates(x), self.context(x)
        total: Tensor | None = None
        for level, conv in enumerate(self.levels):
            context = F.gelu(conv(context))
            gate = gates[..., level : level + 1]
            total = context * gate if total is None else torch.addcmul(total, context, gate)
        assert total is not None
        overall = F.gelu(context.mean(dim=(1, 2)))[:, None, None]  # B, 1, 1, C
        return torch.addcmul(total, overall, gates[..., -1:])

    def reference(self, x: Tensor) -> Tensor:
        """The same map with the convolutions as sums over taps, one image's levels stacked."""
        context, levels = self.context(x), []
        for conv in self.levels:
            context = F.gelu(kernel_sum(context, conv.get_parameter("weight")[:, 0]))
            levels.append(context)
        levels.append(F.gelu(context.flatten(1, 2).mean(dim=1))[:, None, None].expand_as(x))
        total = torch.einsum("bhwl,lbhwc->bhwc", self.gates(x), torch.stack(levels))
        if self.config.normalize:
            total = total / len(levels)
        y: Tensor = self.proj(self.norm(self.query(x) * self.modulator(total)))
        return y

    def affinity(self, x: Tensor) -> CascadeAffinity:
        """(B, H, W, C) -> (B, C, H * W, H * W): every channel is a head."""
        context, weights = self.context(x), self._gates(x).permute(0, 3, 1, 2)
        passed = []
        for conv in self.levels:
            convolved = conv(context)
            passed.append(torch.special.ndtr(convolved))
            context = convolved * passed[-1]
        overall = torch.special.ndtr(context.mean(dim=(1, 2)))[:, :, None, None]  # B, C, 1, 1
        return CascadeAffinity(
            [conv.get_parameter("weight")[:, 0] for conv in self.levels],
            [gate.permute(0, 3, 1, 2) for gate in passed],
            weights[:, :-1],
            weights[:, -1:] * overall,
            map_columns(*x.shape[1:3], device=x.device),
        )

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, C, H * W, 1)."""
        return split_into_heads(self.context(x), self.config.dim)

    def aggregated(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, C, H * W, 1): z. Its projection and the query come after."""
        return split_into_heads(self._summary(x), self.config.dim)

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """FocalNet's and timm's names: one projection `f` of query, context and gates, and convolutions for linear
        layers."""
        dim = self.config.dim
        rows = {"query": slice(dim), "context": slice(dim, 2 * dim), "gates": slice(2 * dim, None)}
        names = {"h": "modulator", "ln": "norm"}
        ours: dict[str, Tensor] = {}
        for name, tensor in state.items():
            first, _, rest = name.partition(".")
            flat = tensor.flatten(1) if first in ("f", "h", "proj") and tensor.ndim == 4 else tensor
            if first == "f":
                ours |= {f"{part}.{rest}": flat[own] for part, own in rows.items()}
            elif first == "focal_layers":
                ours[f"levels.{rest.replace('.0.', '.', 1)}"] = tensor
            else:
                ours[f"{names.get(first, first)}.{rest}"] = flat
        return ours

    def macs(self, height: int, width: int) -> int:
        """N C (3 C + C + L + 1) for the projections, N C k^2 for the convolution of every level."""
        dim = self.config.dim
        taps = sum(side**2 for side in self.config.kernels)
        return height * width * dim * (4 * dim + self.config.levels + 1 + taps)
