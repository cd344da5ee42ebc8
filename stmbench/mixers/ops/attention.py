"""Self-attention over all tokens, and alpha and beta of CONTAINER's mixtures with it (Gao et al. 2021, eq. 7). A bias
for attention to a pooled map.

Alpha and beta are one number each in every block, fixed or learned.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers.affinity import Affinity, ScaledAffinity
from stmbench.mixers.base import ZeroGradient
from stmbench.mixers.ops import cached_table

Size = tuple[int, int]


def key_bias(parameter: str = "qkv.bias", part: str = "the keys' third") -> ZeroGradient:
    """The bias of keys under a softmax, which cannot learn."""
    reason = "a key bias adds the same q.b to every logit of a query, and softmax ignores it"
    return ZeroGradient(parameter=parameter, part=part, reason=reason)


def num_heads(dim: int, head_dim: int, heads: int | None) -> int:
    """`heads` where given, else dim / head_dim. Raises ConfigError where they do not divide `dim`."""
    if heads is not None:
        require(heads >= 1 and dim % heads == 0, f"heads that divide dim {dim}", heads)
        return heads
    require(head_dim >= 1 and dim % head_dim == 0, f"dim {dim} divisible by head_dim", head_dim)
    return dim // head_dim


class QkvProjection(nn.Linear):
    """Queries, keys and values (in this order) of every token, or the values alone: (..., C) -> (..., 3 C or C)."""

    def __init__(self, dim: int, *, queries: bool = True) -> None:
        super().__init__(dim, 3 * dim if queries else dim)

    def values(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C): the values without the rest."""
        return F.linear(x, self.weight[-self.in_features :], self.bias[-self.in_features :])


def self_attention(qkv: Tensor, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(d)) v over all tokens: (B, H, W, 3 C) -> (B, H, W, C), by fused attention."""
    batch, height, width, channels = qkv.shape
    # B, N, 3, heads, d -> 3 x (B, heads, N, d)
    q, k, v = qkv.reshape(batch, height * width, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    mixed = F.scaled_dot_product_attention(q, k, v)
    return mixed.transpose(1, 2).reshape(batch, height, width, channels // 3)


def self_attention_reference(qkv: Tensor, heads: int) -> Tensor:
    """The same, head by head with a softmax that can be read."""
    q, k, v = qkv.flatten(1, 2).chunk(3, dim=-1)  # B, N, C each
    depth = q.shape[-1] // heads
    mixed = []
    for head in range(heads):
        part = slice(head * depth, (head + 1) * depth)
        logits = q[..., part] @ k[..., part].transpose(1, 2) * depth**-0.5
        mixed.append(logits.softmax(dim=-1) @ v[..., part])
    return torch.cat(mixed, dim=-1).reshape(*qkv.shape[:3], -1)


LEARNED: Literal["learned"] = "learned"
MixingWeight = float | Literal["learned"]
Gate = Literal["free", "sigmoid"]
START = 0.5  # of a learned share: the two sum to one, as the released model's do


def check_mixing_weights(alpha: MixingWeight, beta: MixingWeight, gate: Gate) -> None:
    """Raise ConfigError for shares that are neither numbers nor "learned", that are both 0, or tied and fixed."""
    for name, share in (("alpha", alpha), ("beta", beta)):
        sound = share == LEARNED or (isinstance(share, int | float) and not isinstance(share, bool))
        require(sound, f'{name} "learned" or a number', share)
    remedy = "leave one of them out: with both at 0 nothing is mixed, and the output does not depend on the input"
    require(alpha != 0 or beta != 0, "alpha or beta other than 0", (alpha, beta), remedy)
    require(gate in ("free", "sigmoid"), "gate free or sigmoid", gate)
    tied = gate == "free" or (alpha == LEARNED and beta == LEARNED)
    require(tied, "alpha and beta learned with gate sigmoid", (alpha, beta), "use gate free to fix one of them")


class MixingWeights(nn.Module):
    """() -> (alpha, beta), scalars. Learned ones are parameters; `gate` "sigmoid" ties them: sigmoid(w), 1 - that."""

    def __init__(self, alpha: MixingWeight, beta: MixingWeight, gate: Gate) -> None:
        super().__init__()
        self.gate = gate
        self._fixed = [1.0 if share == LEARNED else float(share) for share in (alpha, beta)]
        tied = gate == "sigmoid"
        self.weight = nn.Parameter(torch.zeros(1)) if tied else None
        self.alpha = nn.Parameter(torch.full((1,), START)) if alpha == LEARNED and not tied else None
        self.beta = nn.Parameter(torch.full((1,), START)) if beta == LEARNED and not tied else None

    def forward(self) -> tuple[Tensor | float, Tensor | float]:
        """(alpha, beta): (1,) tensors, or plain numbers where they are fixed."""
        if self.weight is not None:
            alpha = self.weight.sigmoid()
            return alpha, 1 - alpha
        fixed_alpha, fixed_beta = self._fixed
        return (
            fixed_alpha if self.alpha is None else self.alpha,
            fixed_beta if self.beta is None else self.beta,
        )

    def tensors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and beta as () tensors of the dtype and device of `like`, as affinities take them."""
        alpha, beta = (torch.as_tensor(share, dtype=like.dtype, device=like.device).reshape(()) for share in self())
        return alpha, beta

    def single_branch(self, part: Affinity, like: Tensor) -> Affinity:
        """The affinity of a mixer whose other part is switched off: the part that is left, times its share."""
        alpha, beta = self.tensors(like)
        return ScaledAffinity(part, beta if part.dynamic is None else alpha)


class DisplacementBias(nn.Module):
    """A bias for each head, query and cell of a pooled map: an MLP of the displacement between them.

    Shi, "TransNeXt", CVPR 2024, section 3.3, after Liu et al., "Swin Transformer V2", CVPR 2022, eq. 4: a displacement
    of d tokens, 8 d / (size - 1) in units of a map of `size` tokens, enters as sign * log2(1 + |.|) / 3. A cell's place
    is the mean of its tokens', the cells being those of adaptive average pooling.
    """

    def __init__(self, heads: int, hidden: int = 512) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(2, hidden), nn.Linear(hidden, heads)

    def forward(self, size: Size, cells: Size, unit: Size) -> Tensor:
        """(heads, N, P) for a map of `size`, pooled to `cells`, in units of a map of `unit` tokens.

        The MLP sees every displacement once, of all pairs of a query and a cell that have it.
        """
        dtype, device = self.inner.weight.dtype, self.inner.weight.device
        every = _log_displacements(size, cells, unit, torch.promote_types(dtype, torch.float32), device)
        biases: Tensor = self.outer(F.relu(self.inner(every.to(dtype))))  # displacements, heads
        pairs = _displacement_index(size, cells, device)
        return biases.t().index_select(1, pairs).view(-1, size[0] * size[1], cells[0] * cells[1])

    def reference(self, down: Tensor, right: Tensor, unit: Size) -> Tensor:
        """Displacements in tokens, (H, 1) and (W,) -> (H, W, heads)."""
        parts = [8 * part / max(size - 1, 1) for part, size in zip((down, right), unit, strict=True)]
        y, x = (part.sign() * (1 + part.abs()).log2() / 3 for part in parts)
        weight = self.inner.weight
        hidden = y[..., None] * weight[:, 0] + x[..., None] * weight[:, 1] + self.inner.bias
        biases: Tensor = self.outer(hidden.clamp(min=0))
        return biases

    def macs(self, size: Size, cells: Size) -> int:
        """Of the two layers, for the displacements that there are."""
        _, _, down = _distances(size[0], cells[0])
        _, _, across = _distances(size[1], cells[1])
        return down * across * (self.inner.weight.numel() + self.outer.weight.numel())


def _distances(size: int, cells: int) -> tuple[int, int, int]:
    """Displacements along an axis in half tokens: the first one, the step between them, and how many there are."""
    middles = [cell * size // cells + -(-(cell + 1) * size // cells) - 1 for cell in range(cells)]  # twice the places
    step = 2 if all(middle % 2 == middles[0] % 2 for middle in middles) else 1
    first, last = -middles[-1], 2 * (size - 1) - middles[0]
    return first, step, (last - first) // step + 1


@cached_table
def _log_displacements(size: Size, cells: Size, unit: Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(down * across, 2): every displacement (y, x) as the MLP takes it."""
    axes = []
    for tokens, parts, scale in zip(size, cells, unit, strict=True):
        first, step, count = _distances(tokens, parts)
        away = (torch.arange(count, dtype=dtype, device=device) * step + first) * (4 / max(scale - 1, 1))
        axes.append(away.sign() * (away.abs() + 1).log2() / 3)
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 1)


@cached_table
def _displacement_index(size: Size, cells: Size, device: torch.device) -> Tensor:
    """(N * P,): the displacement of every query from every cell, as a row of `_log_displacements`."""
    axes = []
    for tokens, parts in zip(size, cells, strict=True):
        first, step, _ = _distances(tokens, parts)
        cell = torch.arange(parts, device=device)
        middle = cell * tokens // parts - (-(cell + 1) * tokens // parts) - 1
        axes.append((2 * torch.arange(tokens, device=device)[:, None] - middle - first) // step)  # tokens, cells
    across = _distances(size[1], cells[1])[2]
    pairs = axes[0][:, None, :, None] * across + axes[1][None, :, None, :]  # H, W, cells down, cells across
    return pairs.flatten()
