"""Alpha and beta of CONTAINER's mixtures (Gao et al. 2021, eq. 7): one number each in every block, fixed or learned."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers.affinity import Affinity, ScaledAffinity

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
