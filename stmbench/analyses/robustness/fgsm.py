"""The fast gradient sign method (Goodfellow, Shlens and Szegedy, 2015), with one gradient for every eps.

    x' = clamp(x + eps * sign(d CE(f(x), y) / dx), 0, 1)

The sign does not depend on eps, so one forward and one backward pass serve all of them, and that forward pass is the
model's prediction on the clean image too.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor
from torch.nn import functional

from stmbench.analyses.robustness.attack_target import Target
from stmbench.errors import UnitError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gradient:
    """What one forward and backward pass says: the logits (B, classes) and the gradient's sign (B, 3, H, W)."""

    logits: Tensor
    sign: Tensor

    @property
    def zero_share(self) -> Tensor:
        """(B,) share of each image's values that no eps moves: their gradient is 0. A saturated softmax gives 1."""
        return (self.sign == 0).flatten(1).float().mean(1)

    def step(self, pixels: Tensor, eps: float) -> Tensor:
        """The adversarial images at `eps`, (B, 3, H, W) in [0, 1]."""
        return (pixels + eps * self.sign).clamp_(0, 1)


def gradient(target: Target, pixels: Tensor, labels: Tensor | None) -> Gradient:
    """One forward and one backward pass, to the input only.

    Args:
        pixels: (B, 3, H, W) float32 in [0, 1].
        labels: (B,) int64; None attacks the model's own prediction.

    Raises:
        UnitError: NaN or infinite logits, or NaN in the gradient.
    """
    leaf = pixels.detach().clone().requires_grad_()
    with torch.enable_grad():
        logits = target(leaf)
        loss = functional.cross_entropy(logits, logits.argmax(1) if labels is None else labels)
        # the mean shrinks the gradient with the batch, and fp16 loses it to underflow; a power of two undoes that
        # without touching a single mantissa, so the signs stay those of the mean, as other implementations take it
        (found,) = torch.autograd.grad(loss * 2.0 ** round(math.log2(len(leaf))), leaf)
    if bool(found.isnan().any()):
        raise UnitError("NaN gradient: its sign says nothing of where to go")
    return Gradient(logits=logits.detach(), sign=found.sign())
