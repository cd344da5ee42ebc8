"""Linear attention with a rotary position, gated as in Mamba.

Han et al., "Demystify Mamba in Vision: A Linear Attention Perspective", NeurIPS 2024 (MLLA), section 4. On values V,
with phi = ELU + 1, N tokens and R the rotation of a token's channels by its position,

    Q, K = phi(W_qk V),   A(V)_nm = (R_n Q_n . R_m K_m) / (N (Q_n . mean(K) + 1e-6))
    attention(V) = A V + lepe * V,   lepe a 3 x 3 depthwise kernel
    Y = W_out (attention(SiLU(dw * W_in X)) * SiLU(W_act X)),   dw another 3 x 3 kernel

There is no projection of the values, and `gated=False` gives the attention of X alone. Two oddities are kept. The
rotation is over all C channels before they are split into heads: the pair (2 j, 2 j + 1) turns by
row * 10000^(-4 j / C) for the first C / 4 pairs, by column for the others, so that heads differ in what they know of
the position. The denominator is of the unrotated Q and K: the weights of a row do not sum to one and may be negative.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import ProductAffinity, map_columns, split_into_heads
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops import cached_table
from stmbench.mixers.ops.attention import num_heads
from stmbench.mixers.ops.neighbourhood_sums import kernel_sum

BASE = 10000.0
EPSILON = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearAttnConfig(MixerConfig):
    """`heads` heads of an even number of channels; `gated=False` leaves out the projections and the gate around."""

    heads: int
    gated: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.dim % 4 == 0, "dim divisible by 4, for two rotated coordinates", self.dim)
        even = self.heads >= 1 and self.dim % (2 * self.heads) == 0
        require(even, f"heads with an even number of the {self.dim} channels each", self.heads)


def config_at(
    position: BlockPosition, *, head_dim: int = 32, heads: int | None = None, gated: bool = True
) -> LinearAttnConfig:
    """Heads of `head_dim` channels; `heads`, where given, is their number in every stage instead."""
    return LinearAttnConfig(dim=position.dim, heads=num_heads(position.dim, head_dim, heads), gated=gated)


@cached_table
def rotations(
    height: int, width: int, dim: int, modulus: float = 1.0, *, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """(H * W, C / 2, 2): `modulus` times cosine and sine of the angle of every token and pair of channels."""
    speed = BASE ** (-torch.arange(dim // 4, dtype=dtype, device=device) / (dim // 4))
    rows = torch.arange(height, dtype=dtype, device=device)[:, None, None] * speed
    columns = torch.arange(width, dtype=dtype, device=device)[:, None] * speed
    angles = torch.cat((rows.expand(-1, width, -1), columns.expand(height, -1, -1)), dim=-1).flatten(0, 1)
    return modulus * torch.stack((angles.cos(), angles.sin()), dim=-1)


@register_mixer(
    "linear_attn",
    config=LinearAttnConfig,
    config_at=config_at,
    title="Linear Attention",
    abbreviation="Linear-Attn",
    family="Linear Attention",
    sampling="global",
    weights="dynamic",
    method="MLLA",
    citation="Han et al., NeurIPS 2024",
    channel_multiple=32,
    palette_slot=29,
    presets=presets.matched((2, 2, 11, 2), (2, 2, 6, 2), head_dim=16),
    layouts=presets.tiny_layout((64, 128, 256, 512), (2, 4, 8, 4)),
)
class LinearAttn(Mixer):
    """(B, H, W, C) -> (B, H, W, C); the cost is linear in H * W. Positions beyond the design size turn further.

    The affinity is that of the linear attention, before lepe and the gate, which depends on the input.
    """

    config: LinearAttnConfig

    def __init__(self, config: LinearAttnConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        if config.gated:
            self.proj_in = nn.Linear(dim, dim)
            self.conv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
            self.gate = nn.Linear(dim, dim)
            self.proj_out = nn.Linear(dim, dim)
        self.qk = nn.Linear(dim, 2 * dim)
        self.lepe = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        tokens = self._tokens(x)
        local = self.lepe(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        mixed = self._attention(tokens).transpose(1, 2)  # B, N, heads, d
        y: Tensor = (local.reshape(mixed.shape) + mixed).view(x.shape)
        if self.config.gated:
            y = self.proj_out(y * F.silu(self.gate(x)))
        return y

    def reference(self, x: Tensor) -> Tensor:
        """The same map with the weights of all pairs of tokens, from their distances."""
        tokens, gate = x, None
        if self.config.gated:
            projected = self.proj_in(x)
            tokens = F.silu(kernel_sum(projected, self.conv.weight[:, 0]) + _bias(self.conv))
            gate = F.silu(self.gate(x))
        height, width, dim = tokens.shape[1:]
        place = torch.arange(height * width, device=x.device)
        distances = torch.stack((place // width, place % width)).to(x.dtype)
        distances = distances[:, :, None] - distances[:, None]  # (rows, columns), N, N
        values = tokens.flatten(1, 2)
        q, k = (F.elu(self.qk(values)) + 1).chunk(2, dim=-1)
        depth, parts = dim // self.config.heads, []
        for head in range(self.config.heads):
            own = slice(head * depth, (head + 1) * depth)
            weights = torch.zeros(len(x), height * width, height * width, dtype=x.dtype, device=x.device)
            for even in range(own.start, own.stop, 2):
                axis, pair = divmod(even // 2, dim // 4)
                angle = distances[axis] * BASE ** (-4 * pair / dim)
                (q0, q1), (k0, k1) = ((part[..., even, None], part[..., even + 1, None]) for part in (q, k))
                k0, k1 = k0.transpose(1, 2), k1.transpose(1, 2)
                weights = weights + (q0 * k0 + q1 * k1) * angle.cos() + (q0 * k1 - q1 * k0) * angle.sin()
            total = q[..., own] @ k[..., own].mean(dim=1)[..., None] + EPSILON
            parts.append(weights / (total * height * width) @ values[..., own])
        y = torch.cat(parts, dim=-1).view(x.shape) + kernel_sum(tokens, self.lepe.weight[:, 0]) + _bias(self.lepe)
        if gate is not None:
            y = self.proj_out(y * gate)
        return y

    def affinity(self, x: Tensor) -> ProductAffinity:
        """(B, H, W, C) -> (B, heads, H * W, H * W)."""
        q, k, scale = self._weights(self._tokens(x))
        return ProductAffinity(q * scale, k, map_columns(*x.shape[1:3], device=x.device))

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, heads, H * W, d)."""
        return split_into_heads(self._tokens(x), self.config.heads)

    def aggregated(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, heads, H * W, d): what lepe is added to."""
        return self._attention(self._tokens(x))

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """MLLA's names, of its block or of its attention alone; the rotations are computed."""
        names = {"in_proj": "proj_in", "act_proj": "gate", "dwc": "conv", "out_proj": "proj_out"}
        plain = {name.removeprefix("attn."): tensor for name, tensor in state.items()}
        parts = {name: name.partition(".") for name in plain if name != "rope.rotations"}
        return {f"{names.get(first, first)}.{rest}": plain[name] for name, (first, _, rest) in parts.items()}

    def macs(self, height: int, width: int) -> int:
        """N C (2 C + 2 C / heads + 1 + 9), and N C (3 C + 9) for the projections and the convolution around."""
        dim = self.config.dim
        attention = 2 * dim + 2 * dim // self.config.heads + 10
        return height * width * dim * (attention + (3 * dim + 9 if self.config.gated else 0))

    def _tokens(self, x: Tensor) -> Tensor:
        """What is attended to: (B, H, W, C) -> (B, H, W, C)."""
        if not self.config.gated:
            return x
        return F.silu(self.conv(self.proj_in(x).permute(0, 3, 1, 2))).permute(0, 2, 3, 1)

    def _attention(self, tokens: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, heads, N, d): N is summed over first."""
        q, k, scale = self._weights(tokens)
        values = split_into_heads(tokens, self.config.heads)
        return (q.to(values.dtype) @ (k.to(values.dtype).mT @ values)) * scale.to(values.dtype)

    def _weights(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys / N, (B, heads, N, d), and each row's factor, (B, heads, N, 1); float32 at least."""
        batch, height, width, dim = tokens.shape
        projected = self.qk(tokens).flatten(1, 2)
        projected = F.elu(projected.to(torch.promote_types(projected.dtype, torch.float32))).add_(1)
        q, k = projected.view(batch, -1, 2, self.config.heads, dim // self.config.heads).unbind(2)  # B, N, heads, d
        total = (q * k.mean(dim=1, keepdim=True)).sum(dim=3, keepdim=True) + EPSILON
        once, mean = (
            rotations(height, width, dim, modulus, dtype=q.dtype, device=q.device)
            for modulus in (1.0, 1 / (height * width))
        )
        return _rotated(q, once), _rotated(k, mean), total.reciprocal().transpose(1, 2)


def _rotated(x: Tensor, table: Tensor) -> Tensor:
    """(B, N, heads, d) -> (B, heads, N, d), every pair of channels multiplied by its complex number of the table."""
    batch, tokens, heads, depth = x.shape
    pairs = x.reshape(batch, tokens, heads, depth // 2, 2)
    factors = table.view(tokens, heads, depth // 2, 2)
    if torch.compiler.is_compiling():  # real numbers are fused, complex ones are not
        (first, second), (cosine, sine) = pairs.unbind(4), factors.unbind(3)
        turned = torch.stack((first * cosine - second * sine, first * sine + second * cosine), dim=4)
    else:
        turned = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(factors))
    return turned.flatten(3).transpose(1, 2).contiguous()


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
