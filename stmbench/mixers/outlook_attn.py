"""Outlook attention: from its own channels, a token says how all tokens of the window around it are mixed.

Yuan et al., "VOLO: Vision Outlooker for Visual Recognition", TPAMI 2022, section 3.1 (eqs. 3 to 6). For the K x K
window of each centre p, head by head, with the window's values V_p (zero outside the map) and A a K^2 x K^2 matrix,

    Y_p = softmax(A(X_p) / sqrt(d)) V_p

and what the windows give for one token is summed. With a stride the centres lie `stride` tokens apart, and A is made
from the mean of the stride x stride tokens from p on.

The sum of windows is one stencil: the weight of the token at q + t in token q is the sum of A_p[i, j] over the windows
in which q is i and q + t is j. There are (2 K - 1)^2 of them, instead of K^4 products for each centre.
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
from stmbench.mixers.affinity import StencilAffinity, join_heads, map_columns, split_into_heads, square_offsets
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops import renamed
from stmbench.mixers.ops.neighbourhood_sums import group_sums

MOST_WEIGHTS = 2**28  # of the layer that makes A: 1 GiB in float32


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutlookAttnConfig(MixerConfig):
    """`heads` heads in windows of `kernel` x `kernel` tokens, whose centres are `stride` tokens apart."""

    heads: int
    kernel: int = 3
    stride: int = 1
    value_bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads >= 1 and self.dim % self.heads == 0, f"heads that divide dim {self.dim}", self.heads)
        require(self.kernel >= 1 and self.kernel % 2 == 1, "an odd kernel >= 1", self.kernel)
        largest = math.isqrt(math.isqrt(MOST_WEIGHTS // (self.heads * self.dim)))
        expected = f"a kernel <= {largest} (a layer from {self.dim} channels makes kernel^4 weights for each head)"
        require(self.kernel <= largest, expected, self.kernel)
        # further apart, some tokens would be in no window
        require(1 <= self.stride <= self.kernel, f"1 <= stride <= kernel {self.kernel}", self.stride)


def config_at(
    position: BlockPosition, *, kernel: int = 3, stride: int = 1, head_dim: int = 32, value_bias: bool = False
) -> OutlookAttnConfig:
    """The same windows everywhere."""
    require(head_dim >= 1 and position.dim % head_dim == 0, f"dim {position.dim} divisible by head_dim", head_dim)
    heads = position.dim // head_dim
    return OutlookAttnConfig(dim=position.dim, heads=heads, kernel=kernel, stride=stride, value_bias=value_bias)


@register_mixer(
    "outlook_attn",
    config=OutlookAttnConfig,
    config_at=config_at,
    title="Outlook Attention",
    abbreviation="Outlook-Attn",
    family="Local Attention",
    sampling="local",
    weights="dynamic",
    method="VOLO",
    citation="Yuan et al., TPAMI 2022",
    channel_multiple=32,
    palette_slot=26,
    presets=presets.matched((2, 2, 12, 2), (2, 2, 6, 2), tiny_dims=(96, 192, 384, 832), head_dim=16),
)
class OutlookAttn(Mixer):
    """(B, H, W, C) -> (B, H, W, C). Windows that reach over the map's edge see zeros there; a last row or column of
    centres is made from as many tokens as there are."""

    config: OutlookAttnConfig

    def __init__(self, config: OutlookAttnConfig) -> None:
        super().__init__()
        self.config = config
        self.value = nn.Linear(config.dim, config.dim, bias=config.value_bias)
        self.weights = nn.Linear(config.dim, config.heads * config.kernel**4)  # head by head, then token by token
        self.proj = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        mixed: Tensor = self.proj(self._mixed(self.value(x), self._windows(x)))
        return mixed

    def reference(self, x: Tensor) -> Tensor:
        """The same map, token i and key j of a window after the other, from their coordinates."""
        config, (batch, height, width, dim) = self.config, x.shape
        kernel, stride, depth = config.kernel, config.stride, dim // config.heads
        centres = [torch.arange(0, size, stride) for size in (height, width)]
        pooled = torch.stack(
            [x[:, y : y + stride, x_ : x_ + stride].mean((1, 2)) for y in centres[0] for x_ in centres[1]], 1
        ).view(batch, len(centres[0]), len(centres[1]), dim)
        logits = self.weights(pooled).view(*pooled.shape[:3], config.heads, kernel**2, kernel**2)
        weights = (logits / depth**0.5).exp()
        weights = weights / weights.sum(-1, keepdim=True)
        value = self.value(x).view(batch, height, width, config.heads, depth)
        row, column = torch.arange(height)[:, None], torch.arange(width)
        mixed = torch.zeros_like(value)
        taps = [(tap // kernel - kernel // 2, tap % kernel - kernel // 2) for tap in range(kernel**2)]
        for i, (down, right) in enumerate(taps):
            cy, cx = row - down, column - right  # the centre in whose window the token is number i
            is_centre = (cy >= 0) & (cy < height) & (cx >= 0) & (cx < width) & (cy % stride == 0) & (cx % stride == 0)
            here = weights[:, cy.clamp(0, height - 1) // stride, cx.clamp(0, width - 1) // stride, :, i]
            for j, (key_down, key_right) in enumerate(taps):
                ky, kx = cy + key_down, cx + key_right
                exists = is_centre & (ky >= 0) & (ky < height) & (kx >= 0) & (kx < width)
                seen = value[:, ky.clamp(0, height - 1), kx.clamp(0, width - 1)] * exists[..., None, None]
                mixed = mixed + here[..., j, None] * seen
        projected: Tensor = self.proj(mixed.flatten(3))
        return projected

    def affinity(self, x: Tensor) -> StencilAffinity:
        """(B, H, W, C) -> (B, heads, H * W, H * W): (2 K - 1)^2 taps, of all windows that a token is in."""
        batch, height, width, _ = x.shape
        weights = self._stencil(self._windows(x), height, width).flatten(1, 2).transpose(1, 2)
        offsets = square_offsets(2 * self.config.kernel - 1, x.device)
        return StencilAffinity(
            weights, offsets, map_columns(height, width, device=x.device), kind="dynamic", batch=batch
        )

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, heads, H * W, d)."""
        return split_into_heads(self.value(x), self.config.heads)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, heads, H * W, d) -> (B, H, W, C)."""
        projected: Tensor = self.proj(join_heads(mixed, height, width))
        return projected

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The authors' names of the values and of the weights."""
        return renamed(state, {"v.": "value.", "attn.": "weights."})

    def macs(self, height: int, width: int) -> int:
        """2 N C^2 for values and output; for each of N' centres C heads K^4 for the weights and K^4 C for the
        products."""
        config, tokens = self.config, height * width
        centres = -(-height // config.stride) * -(-width // config.stride)
        return config.dim * (2 * tokens * config.dim + centres * (config.heads + 1) * config.kernel**4)

    def _windows(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> the windows' weights, (K^2 keys, K^2 tokens, B, centres down, centres across, heads)."""
        config = self.config
        if config.stride > 1:
            x = F.avg_pool2d(x.permute(0, 3, 1, 2), config.stride, ceil_mode=True).permute(0, 2, 3, 1)
        scale = (config.dim // config.heads) ** -0.5
        logits = F.linear(x, self.weights.weight * scale, self.weights.bias * scale)
        logits = logits.view(*x.shape[:3], config.heads, config.kernel**2, config.kernel**2)
        # keys first: the softmax goes over whole vectors, not over nine numbers at a time
        return logits.permute(5, 4, 0, 1, 2, 3).contiguous().softmax(0)

    def _mixed(self, values: Tensor, windows: Tensor) -> Tensor:
        """(B, H, W, C), what all windows give for each token."""
        if torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call,unused-ignore]
            return contracted_windows(values, windows, self.config)  # a trace is for counting or export
        return group_sums(values, self._stencil(windows, *values.shape[1:3]), 2 * self.config.kernel - 1)

    def _stencil(self, windows: Tensor, height: int, width: int) -> Tensor:
        """The windows' weights as (B, H, W, heads, (2 K - 1)^2)."""
        kernel, stride = self.config.kernel, self.config.stride
        batch, down, across, heads = windows.shape[2:]
        side, edge = 2 * kernel - 1, 2 * (kernel // 2)
        stencil = windows.new_zeros(side, side, batch, height + edge, width + edge, heads)
        by_token = windows.view(kernel, kernel, kernel**2, batch, down, across, heads).unbind(2)
        for token, weights in enumerate(by_token):
            y, x = divmod(token, kernel)
            rows, columns = (
                slice(y, y + stride * (down - 1) + 1, stride),
                slice(x, x + stride * (across - 1) + 1, stride),
            )
            # key 0 of the window is y rows above and x columns left of this token
            first_y, first_x = kernel - 1 - y, kernel - 1 - x
            part = stencil[first_y : first_y + kernel, first_x : first_x + kernel, :, rows, columns]
            part += weights
        inside = stencil[:, :, :, kernel // 2 : kernel // 2 + height, kernel // 2 : kernel // 2 + width]
        return inside.flatten(0, 1).permute(1, 2, 3, 4, 0)


def contracted_windows(values: Tensor, windows: Tensor, config: OutlookAttnConfig) -> Tensor:
    """The same window by window, as the paper has it: unfold, multiply, fold."""
    kernel, stride, radius = config.kernel, config.stride, config.kernel // 2
    batch, height, width, dim = values.shape
    geometry = {"kernel_size": kernel, "stride": stride, "padding": radius}
    unfolded = F.unfold(values.permute(0, 3, 1, 2), **geometry)  # B, heads * d * K^2, centres
    unfolded = unfolded.view(batch, config.heads, -1, kernel**2, unfolded.shape[-1]).permute(0, 1, 4, 3, 2)
    weights = windows.flatten(3, 4).permute(2, 4, 3, 1, 0)  # B, heads, centres, K^2 tokens, K^2 keys
    mixed = (weights @ unfolded).permute(0, 1, 4, 3, 2).reshape(batch, dim * kernel**2, -1)
    return F.fold(mixed, (height, width), **geometry).permute(0, 2, 3, 1)
