"""Bidirectional state space model: selective scans of the tokens row by row, from either end.

Zhu et al., "Vision Mamba", ICML 2024, section 3.3 and algorithm 1, with the scan of Gu and Dao, "Mamba", COLM 2024.
Both directions have weights of their own; backwards, the sequence is reversed first, and the result afterwards:

    X, Z = W_in x;  X_o = SiLU(causal conv_o(X)),  (d, B, C) = W_o X_o,  delta = softplus(W_dt,o d + b_dt,o)
    h_t = exp(delta_t A_o) h_(t-1) + delta_t B_t X_o,t,  y_o,t = C_t h_t + D_o X_o,t
    Y = W_out ((y_forward + y_backward) / 2 * SiLU(Z))

Half of the sum, not the sum, is taken in the authors' final models (`divide`). They add a class token in the middle of
the sequence; here there is none. The path is the raster: the last token of a row is followed by the first of the next.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import SelectiveScanAffinity, map_columns
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops.scan import initial_delta_bias, selective_scan, selective_scan_reference, wide

WAYS: Final = 2  # from the start, from the end
# our stacked weights, and the authors' two of each
PUBLISHED: Final = {
    "conv_weight": ("conv1d.weight", "conv1d_b.weight"),
    "conv_bias": ("conv1d.bias", "conv1d_b.bias"),
    "x_proj_weight": ("x_proj.weight", "x_proj_b.weight"),
    "dt_proj_weight": ("dt_proj.weight", "dt_proj_b.weight"),
    "dt_proj_bias": ("dt_proj.bias", "dt_proj_b.bias"),
    "A_logs": ("A_log", "A_b_log"),
    "Ds": ("D", "D_b"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class BidirectionalSSMConfig(MixerConfig):
    """`expand` x `dim` channels of `d_state` states; a causal convolution over `kernel` tokens.

    Attributes:
        divide: take half of the sum of both directions.
    """

    d_state: int = 16
    expand: int = 2
    kernel: int = 4
    divide: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("d_state", "expand", "kernel"):
            require(getattr(self, name) >= 1, f"{name} >= 1", getattr(self, name))

    @property
    def inner(self) -> int:
        """Channels that are scanned."""
        return self.dim * self.expand

    @property
    def rank(self) -> int:
        """Of delta."""
        return math.ceil(self.dim / 16)


def config_at(
    position: BlockPosition, *, d_state: int = 16, expand: int = 2, kernel: int = 4, divide: bool = True
) -> BidirectionalSSMConfig:
    """The same in every block."""
    return BidirectionalSSMConfig(dim=position.dim, d_state=d_state, expand=expand, kernel=kernel, divide=divide)


@register_mixer(
    "bidirectional_ssm",
    config=BidirectionalSSMConfig,
    config_at=config_at,
    title="Bidirectional State Space Model",
    abbreviation="Bi-SSM",
    family="State Space",
    sampling="global",
    weights="dynamic",
    method="Vim",
    citation="Zhu et al., ICML 2024",
    palette_slot=33,
    presets=presets.matched((2, 2, 8, 2), (2, 2, 4, 2)),
)
class BidirectionalSSM(Mixer):
    """(B, H, W, C) -> (B, H, W, C). States and their sum are float32 in half precision; backward is deterministic.

    The directions have values of their own, so the affinity has a head for each channel of each direction; the gate
    depends on the input, so its product with the values is compared in `aggregated`.
    """

    config: BidirectionalSSMConfig

    def __init__(self, config: BidirectionalSSMConfig) -> None:
        super().__init__()
        self.config = config
        inner, rank, states = config.inner, config.rank, config.d_state

        def uniform(*shape: int, fan_in: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape).uniform_(-(fan_in**-0.5), fan_in**-0.5))

        self.in_proj = nn.Linear(config.dim, 2 * inner, bias=False)
        self.conv_weight = uniform(WAYS, inner, config.kernel, fan_in=config.kernel)
        self.conv_bias = uniform(WAYS, inner, fan_in=config.kernel)
        self.x_proj_weight = uniform(WAYS, rank + 2 * states, inner, fan_in=inner)
        self.dt_proj_weight = uniform(WAYS, inner, rank, fan_in=rank)
        self.dt_proj_bias = nn.Parameter(initial_delta_bias(WAYS, inner))
        self.A_logs = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(WAYS, inner, 1))
        self.Ds = nn.Parameter(torch.ones(WAYS, inner))
        self.out_proj = nn.Linear(inner, config.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        first, gate = self.in_proj(x.flatten(1, 2)).chunk(2, dim=-1)
        ways = self._mixed(self._sequences(first))
        gated = (ways[0] + ways[1].flip(1)) * F.silu(wide(gate))
        if self.config.divide:
            gated = gated * 0.5
        result: Tensor = self.out_proj(gated.to(self.out_proj.weight.dtype)).view(x.shape)
        return result

    def reference(self, x: Tensor) -> Tensor:
        """The same map, direction by direction, tap by tap and position by position."""
        inner, kernel = self.config.inner, self.config.kernel
        projected = self.in_proj(x)
        path = [(row, column) for row in range(x.shape[1]) for column in range(x.shape[2])]
        total = torch.zeros_like(projected[..., :inner])
        for way, order in enumerate((path, path[::-1])):
            rows, columns = (torch.tensor(axis, device=x.device) for axis in zip(*order, strict=True))
            sequence = projected[:, rows, columns, :inner]  # B, L, D
            before = torch.cat((sequence.new_zeros(len(x), kernel - 1, inner), sequence), dim=1)
            taps = [before[:, tap : tap + len(order)] * self.conv_weight[way, :, tap] for tap in range(kernel)]
            sequence = F.silu(torch.stack(taps).sum(dim=0) + self.conv_bias[way])
            sizes = [self.config.rank, self.config.d_state, self.config.d_state]
            low, b, c = torch.split(sequence @ self.x_proj_weight[way].T, sizes, dim=-1)
            delta = F.softplus(low @ self.dt_proj_weight[way].T + self.dt_proj_bias[way])
            a = -torch.exp(self.A_logs[way]).T
            y = selective_scan_reference(sequence[None], delta[None], a[None], b[None], c[None])[0]
            total[:, rows, columns] += y + self.Ds[way] * sequence
        gated = total * F.silu(projected[..., inner:])
        result: Tensor = self.out_proj(gated / 2 if self.config.divide else gated)
        return result

    def affinity(self, x: Tensor) -> SelectiveScanAffinity:
        """(B, H, W, C) -> (B, 2 D, H * W, H * W): each channel of the first direction is a head, then of the other."""
        _, height, width, _ = x.shape
        sequences = self._sequences_of(x)
        path = torch.arange(height * width, device=x.device)
        return SelectiveScanAffinity(
            *self._weights(sequences),
            wide(self.Ds),
            torch.stack((path, path.flip(0))),
            map_columns(height, width, device=x.device),
            joined=False,
        )

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, 2 D, H * W, 1): what is scanned, after the convolutions and their activation."""
        return _as_heads(wide(self._sequences_of(x)))

    def aggregated(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, 2 D, H * W, 1): both scans, before their sum and the gate."""
        return _as_heads(self._mixed(self._sequences_of(x)))

    def no_weight_decay(self) -> set[str]:
        """The decay rates and the direct path."""
        return {"A_logs", "Ds"}

    def from_published(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Vim's `Mamba` with bimamba_type v2."""
        pairs = {name: pair for name, pair in PUBLISHED.items() if all(key in state for key in pair)}
        taken = {key for pair in pairs.values() for key in pair}
        found = {name: tensor for name, tensor in state.items() if name not in taken}
        for name, pair in pairs.items():
            stacked = torch.stack([state[key] for key in pair])
            found[name] = stacked.squeeze(2) if name == "conv_weight" else stacked
        return found

    def macs(self, height: int, width: int) -> int:
        """N D (3 C + 2 (k + (r + 2 n) + r + 2 n)): projections; for each direction the convolution, weights of the
        scan, recurrence and the product with C."""
        config = self.config
        scans = config.kernel + 2 * config.rank + 2 * config.d_state + 2 * config.d_state
        return height * width * config.inner * (3 * config.dim + WAYS * scans)

    def _sequences_of(self, x: Tensor) -> Tensor:
        return self._sequences(self.in_proj(x.flatten(1, 2))[..., : self.config.inner])

    def _sequences(self, first: Tensor) -> Tensor:
        """What is scanned, (2, B, L, D), each in its own order: SiLU(causal convolution) of (B, L, D).

        A causal convolution of the reversed sequence is one that looks ahead, with its kernel reversed.
        """
        reach, length, inner = self.config.kernel - 1, first.shape[1], self.config.inner
        padded = F.pad(first, (0, 0, reach, reach))
        parts = (padded[:, : reach + length], padded[:, reach:])
        kernels = (self.conv_weight[0], self.conv_weight[1].flip(1))
        ways = [
            F.conv2d(part.transpose(1, 2)[:, :, None], kernel[:, None, None], bias, groups=inner)[:, :, 0]
            for part, kernel, bias in zip(parts, kernels, self.conv_bias, strict=True)
        ]
        ahead, back = (F.silu(way).transpose(1, 2) for way in ways)
        return torch.stack((ahead, back.flip(1)))

    def _weights(self, sequences: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """delta, A, B and C of both scans, see `selective_scan`; sequences: (2, B, L, D)."""
        config = self.config
        low = torch.matmul(sequences.flatten(1, 2), self.x_proj_weight.mT)  # 2, B L, r + 2n
        low, b, c = (
            part.view(*sequences.shape[:3], -1)
            for part in torch.split(low, [config.rank, config.d_state, config.d_state], dim=-1)
        )
        raw = wide(torch.matmul(low.flatten(1, 2), self.dt_proj_weight.mT)).view(sequences.shape)
        delta = F.softplus(raw + wide(self.dt_proj_bias)[:, None, None])
        return delta, -torch.exp(wide(self.A_logs)).mT, wide(b), wide(c)

    def _mixed(self, sequences: Tensor) -> Tensor:
        """(2, B, L, D) -> y of both directions, (2, B, L, D), each in its own order."""
        values = wide(sequences)
        y = selective_scan(values, *self._weights(sequences))
        return torch.addcmul(y, values, wide(self.Ds)[:, None, None])


def _as_heads(ways: Tensor) -> Tensor:
    """(2, B, L, D), the second from the end -> (B, 2 D, L, 1) in the order of the map."""
    joined = torch.cat((ways[0], ways[1].flip(1)), dim=-1)
    return joined.transpose(1, 2).unsqueeze(-1)
