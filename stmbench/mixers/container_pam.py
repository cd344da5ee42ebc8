"""CONTAINER-PAM (Pay Attention to MLP): self-attention and a static N x N matrix, weighed by learned alpha and beta.

Gao et al., "Container", NeurIPS 2021, section 3.3 and eq. 7, with A_mlp (eq. 6) as the static affinity:

    Y = ((alpha A_sa(X) + beta A_mlp) V) W_out,   V = W_v X

The paper does not say whether the heads have matrices of their own; its Fig. 1 shows one matrix a layer, so ours share
one (`shared=False` gives each head its own).
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import (
    Affinity,
    AttentionAffinity,
    MatrixAffinity,
    MixtureAffinity,
    join_heads,
    map_columns,
    split_into_heads,
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
from stmbench.mixers.ops.determinism import RESIZED
from stmbench.mixers.ops.token_sums import MatrixConfig, StaticMatrix


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContainerPamConfig(MixerConfig):
    """`heads` heads; a matrix for maps of `resolution`, one for all heads where `shared`; shares as in CONTAINER."""

    heads: int
    resolution: tuple[int, int]
    shared: bool = True
    alpha: MixingWeight = LEARNED
    beta: MixingWeight = LEARNED
    gate: Gate = "free"
    resize: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads >= 1 and self.dim % self.heads == 0, f"heads that divide dim {self.dim}", self.heads)
        check_mixing_weights(self.alpha, self.beta, self.gate)
        self.matrix()

    def matrix(self) -> MatrixConfig:
        """The static part's config, which checks the rest."""
        heads = 1 if self.shared else self.heads
        return MatrixConfig(heads=heads, resolution=self.resolution, resize=self.resize)


def config_at(
    position: BlockPosition,
    *,
    head_dim: int = 32,
    heads: int | None = None,
    shared: bool = True,
    alpha: MixingWeight = LEARNED,
    beta: MixingWeight = LEARNED,
    gate: Gate = "free",
    resize: bool = True,
) -> ContainerPamConfig:
    """The same everywhere, with a matrix for the map of the position."""
    return ContainerPamConfig(
        dim=position.dim,
        heads=num_heads(position.dim, head_dim, heads),
        resolution=position.resolution,
        shared=shared,
        alpha=alpha,
        beta=beta,
        gate=gate,
        resize=resize,
    )


@register_mixer(
    "container_pam",
    config=ContainerPamConfig,
    config_at=config_at,
    title="CONTAINER-PAM",
    abbreviation="CONTAINER-PAM",
    family="Attention + MLP",
    sampling="global",
    weights="both",
    method="CONTAINER-PAM",
    palette_slot=11,
    citation="Gao et al., NeurIPS 2021",
    nondeterministic_backward=RESIZED,
    depends_on_n=True,
    zero_gradient=(key_bias(),),
    channel_multiple=32,
    presets=presets.nano(head_dim=16),
)
class ContainerPam(Mixer):
    """(B, H, W, C) -> (B, H, W, C). The number of its parameters depends on the design resolution."""

    config: ContainerPamConfig

    def __init__(self, config: ContainerPamConfig) -> None:
        super().__init__()
        self.config = config
        self.attends = config.alpha != 0
        self.qkv = QkvProjection(config.dim, queries=self.attends)
        self.static = StaticMatrix(config.matrix()) if config.beta != 0 else None
        self.shares = MixingWeights(config.alpha, config.beta, config.gate)
        self.proj = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        projected = self.qkv(x)
        dynamic = self_attention(projected, self.config.heads) if self.attends else None
        return self._mixed(projected, dynamic)

    def reference(self, x: Tensor) -> Tensor:
        """The same map with a softmax that can be read, and the whole matrix applied head by head."""
        batch, height, width, dim = x.shape
        projected = self.qkv(x)
        alpha, beta = self.shares()
        mixed = torch.zeros_like(x)
        if self.attends:
            mixed = mixed + alpha * self_attention_reference(projected, self.config.heads)
        if self.static is not None:
            matrices = self.static.reference((height, width))
            depth = dim // self.config.heads
            tokens = projected[..., -dim:].flatten(1, 2)  # B, N, C
            parts = [
                matrices[head % len(matrices)] @ tokens[..., head * depth : (head + 1) * depth]
                for head in range(self.config.heads)
            ]
            mixed = mixed + beta * torch.cat(parts, dim=-1).reshape(batch, height, width, dim)
        y: Tensor = self.proj(mixed)
        return y

    def affinity(self, x: Tensor) -> Affinity:
        """(B, H, W, C) -> (B, heads, H * W, H * W)."""
        batch, height, width, dim = x.shape
        columns = map_columns(height, width, device=x.device)
        alpha, beta = self.shares.tensors(x)
        parts: list[Affinity] = []
        if self.attends:
            q, k = (split_into_heads(part, self.config.heads) for part in self.qkv(x).split(dim, dim=-1)[:2])
            parts.append(AttentionAffinity(q, k, columns))
        if self.static is not None:
            matrix = self.static.matrix((height, width)).expand(self.config.heads, -1, -1)
            parts.append(MatrixAffinity(matrix[None], columns, kind="static", batch=batch))
        return (
            MixtureAffinity(*parts, alpha=alpha, beta=beta)
            if len(parts) == 2
            else self.shares.single_branch(parts[0], x)
        )

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, heads, H * W, d)."""
        return split_into_heads(self.qkv.values(x), self.config.heads)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, heads, H * W, d) -> (B, H, W, C)."""
        y: Tensor = self.proj(join_heads(mixed, height, width))
        return y

    def no_weight_decay(self) -> set[str]:
        """alpha and beta."""
        return {f"shares.{name}" for name, _ in self.shares.named_parameters()}

    def macs(self, height: int, width: int) -> int:
        """N C^2 for each projection, 2 N^2 C for attention's products, N^2 C for the static matrix."""
        dim, tokens = self.config.dim, height * width
        attention = 2 * tokens * dim * dim + 2 * tokens * tokens * dim if self.attends else 0
        static = 0 if self.static is None else self.static.macs(height, width, dim)
        return attention + 2 * tokens * dim * dim + static

    def _mixed(self, projected: Tensor, dynamic: Tensor | None) -> Tensor:
        alpha, beta = self.shares()
        mixed = None if dynamic is None else alpha * dynamic
        if self.static is not None:
            height, width = projected.shape[1:3]
            values = projected[..., -self.config.dim :]
            static = self.static(split_into_heads(values, self.config.heads), (height, width))
            share = beta * join_heads(static, height, width)
            mixed = share if mixed is None else mixed + share
        assert mixed is not None
        y: Tensor = self.proj(mixed)
        return y
