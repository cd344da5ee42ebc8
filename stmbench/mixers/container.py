"""CONTAINER: self-attention and a depthwise convolution of the same values, weighed by learned alpha and beta.

Gao et al., "Container: Context Aggregation Network", NeurIPS 2021, eqs. 4, 5 and 7:

    Y = ((alpha A_sa(X) + beta A_conv) V) W_out,   V = W_v X

A_sa = softmax(Q K^T / sqrt(d)) for each head, A_conv one K x K kernel for each channel. Alpha and beta are one learned
number each in every block, or fixed: alpha = 0 is a depthwise convolution, beta = 0 self-attention, and what is
switched off has no parameters. The paper does not state the kernel's side: 5 is that of the authors' released model,
which also ties the two, alpha = sigmoid(w) and beta = 1 - alpha (`gate="sigmoid"`).
"""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import (
    Affinity,
    AttentionAffinity,
    MixtureAffinity,
    RepeatedHeads,
    StencilAffinity,
    join_heads,
    map_columns,
    split_into_heads,
    square_offsets,
)
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops.attention import (
    LEARNED,
    Gate,
    MixingWeight,
    MixingWeights,
    QkvProjection,
    check_mixing_weights,
    key_bias,
    num_heads,
    self_attention,
    self_attention_reference,
)
from stmbench.mixers.ops.depthwise import DepthwiseConv
from stmbench.mixers.ops.neighbourhood_sums import kernel_sum


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContainerConfig(MixerConfig):
    """`heads` heads of attention, a `kernel` x `kernel` convolution, and their shares: a number, or "learned"."""

    heads: int
    kernel: int = 5
    alpha: MixingWeight = LEARNED
    beta: MixingWeight = LEARNED
    gate: Gate = "free"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads >= 1 and self.dim % self.heads == 0, f"heads that divide dim {self.dim}", self.heads)
        require(self.kernel >= 1 and self.kernel % 2 == 1, "an odd kernel >= 1", self.kernel)
        check_mixing_weights(self.alpha, self.beta, self.gate)


def config_at(
    position: BlockPosition,
    *,
    head_dim: int = 32,
    heads: int | None = None,
    kernel: int = 5,
    alpha: MixingWeight = LEARNED,
    beta: MixingWeight = LEARNED,
    gate: Gate = "free",
    light: bool = False,
) -> ContainerConfig:
    """The same everywhere; with `light` (eq. 8) stages 1 to 3 have no attention and the convolution at its full weight.

    `heads`, where given, is the number of heads of every stage and takes the place of `head_dim`.
    """
    count = num_heads(position.dim, head_dim, heads)
    if light and position.stage < 3:
        return ContainerConfig(dim=position.dim, heads=count, kernel=kernel, alpha=0, beta=1)
    return ContainerConfig(dim=position.dim, heads=count, kernel=kernel, alpha=alpha, beta=beta, gate=gate)


@register_mixer(
    "container",
    config=ContainerConfig,
    config_at=config_at,
    title="CONTAINER",
    abbreviation="CONTAINER",
    family="Attention + Convolution",
    sampling="global",
    weights="both",
    method="CONTAINER",
    citation="Gao et al., NeurIPS 2021",
    zero_gradient=(key_bias(),),
    palette_slot=10,
    channel_multiple=32,
    presets=presets.nano(head_dim=16),
)
class Container(Mixer):
    """(B, H, W, C) -> (B, H, W, C)."""

    config: ContainerConfig

    def __init__(self, config: ContainerConfig) -> None:
        super().__init__()
        self.config = config
        dim, side = config.dim, config.kernel
        self.attends, self.convolves = config.alpha != 0, config.beta != 0
        self.qkv = QkvProjection(dim, queries=self.attends)
        self.conv = DepthwiseConv(dim, side) if self.convolves else None
        self.shares = MixingWeights(config.alpha, config.beta, config.gate)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        projected = self.qkv(x)
        values = projected[..., -self.config.dim :]
        alpha, beta = self.shares()
        mixed = None
        if self.attends:
            mixed = alpha * self_attention(projected, self.config.heads)
        if self.conv is not None:
            local = beta * self.conv(values)
            mixed = local if mixed is None else mixed + local
        assert mixed is not None
        y: Tensor = self.proj(mixed)
        return y

    def reference(self, x: Tensor) -> Tensor:
        """The same map with a softmax that can be read, and the convolution tap by tap."""
        projected = self.qkv(x)
        values = projected[..., -self.config.dim :]
        alpha, beta = self.shares()
        mixed = values * 0
        if self.attends:
            mixed = mixed + alpha * self_attention_reference(projected, self.config.heads)
        if self.conv is not None:
            assert self.conv.bias is not None
            mixed = mixed + beta * (kernel_sum(values, self.conv.weight[:, 0]) + self.conv.bias)
        y: Tensor = self.proj(mixed)
        return y

    def affinity(self, x: Tensor) -> Affinity:
        """(B, H, W, C) -> (B, C, H * W, H * W): every channel is a head, as its kernel is its own."""
        batch, height, width, dim = x.shape
        columns = map_columns(height, width, device=x.device)
        alpha, beta = self.shares.tensors(x)
        parts: list[Affinity] = []
        if self.attends:
            q, k = (split_into_heads(part, self.config.heads) for part in self.qkv(x).split(dim, dim=-1)[:2])
            parts.append(RepeatedHeads(AttentionAffinity(q, k, columns), dim // self.config.heads))
        if self.conv is not None:
            offsets = square_offsets(self.config.kernel, x.device)
            weights = self.conv.weight.view(1, dim, 1, -1)
            parts.append(StencilAffinity(weights, offsets, columns, kind="static", batch=batch))
        return (
            MixtureAffinity(*parts, alpha=alpha, beta=beta)
            if len(parts) == 2
            else self.shares.single_branch(parts[0], x)
        )

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, C, H * W, 1)."""
        return split_into_heads(self.qkv.values(x), self.config.dim)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, C, H * W, 1) -> (B, H, W, C). The kernel's bias is added here: it belongs to no column."""
        x = join_heads(mixed, height, width)
        if self.conv is not None:
            assert self.conv.bias is not None
            x = x + self.shares()[1] * self.conv.bias
        y: Tensor = self.proj(x)
        return y

    def no_weight_decay(self) -> set[str]:
        """alpha and beta."""
        return {f"shares.{name}" for name, _ in self.shares.named_parameters()}

    def macs(self, height: int, width: int) -> int:
        """N C^2 for each projection, 2 N^2 C for attention's products, K^2 N C for the convolution."""
        dim, tokens = self.config.dim, height * width
        attention = 2 * tokens * dim * dim + 2 * tokens * tokens * dim if self.attends else 0
        return attention + tokens * (2 * dim * dim + (self.config.kernel**2 * dim if self.convolves else 0))
