"""The common mistake with attack libraries, kept as an attack of its own, so that figures made with it can be remade.

A model that expects normalised images is handed to a library which supposes pixels in [0, 1]. What the library adds to
normalised values moves a pixel by eps * std, 4.4 times less than eps says; and its clamp to [0, 1] cuts off all that is
darker than the mean or brighter than the mean and one std, so that eps 0 no longer gives the clean accuracy.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stmbench.analyses.robustness.attack_target import Target
from stmbench.analyses.robustness.fgsm import gradient


def fgsm_normalised(target: Target, pixels: Tensor, labels: Tensor, *, eps: float, steps: int, seed: int) -> Tensor:
    """clamp(n + eps * sign(d CE / dn), 0, 1) of the normalised images n, as pixels again: (B, 3, H, W).

    `steps` and `seed` do not matter to it. The sign is that for pixels, as every std is positive.
    """
    sign = gradient(target, pixels, labels).sign
    black, white = (target.normalise(torch.full_like(pixels[:1], value)) for value in (0.0, 1.0))
    cut = (target.normalise(pixels) + eps * sign).clamp_(0, 1)
    return (cut - black) / (white - black)
