"""The fast gradient sign method (Goodfellow, Shlens and Szegedy, 2015), with one gradient for every eps.

    x' = clamp(x + eps * sign(d CE(f(x), y) / dx), 0, 1)

The sign does not depend on eps, so one forward and one backward pass serve all of them, and that forward pass is the
model's prediction on the clean image too.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from stmbench.analyses.loaded_model import finite
from stmbench.errors import UnitError

Normalise = Callable[[Tensor], Tensor]


class Target(nn.Module):
    """Wraps a model for attacks: eval mode, and no gradients of its parameters.

    Args:
        model: (B, 3, H, W) normalised images -> (B, classes) logits. Its mode and `requires_grad` are changed.
        normalise: (B, 3, H, W) in [0, 1] -> the model's input, differentiable, the same for every image.
        device: where the model is.
        dtype: the model's; pixels, normalisation and losses stay in float32 whatever it is, since bf16 cannot tell
            neighbouring pixels apart at eps = 0.5/255.
    """

    def __init__(
        self, model: nn.Module, normalise: Normalise, *, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.inner: nn.Module | None = model.eval().requires_grad_(False)
        self.normalise, self.device, self.dtype = normalise, torch.device(device), dtype
        # torchattacks asks the first parameter for its device, and a model may have none
        self.anchor = nn.Parameter(torch.empty(0, device=self.device), requires_grad=False)

    def train(self, mode: bool = True) -> Target:
        """Stays in eval mode: batch statistics would let one image of a batch change another's prediction."""
        return super().train(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1] -> (B, classes) float32. Raises UnitError for logits that are not finite."""
        assert self.inner is not None, "a released target was called"
        logits: Tensor = self.inner(self.normalise(pixels).to(self.dtype)).float()
        return finite(logits)

    def release(self) -> None:
        """Let the model go: torchattacks keeps every model that it was given until the process ends."""
        self.inner = None


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
        (slope,) = torch.autograd.grad(loss * 2.0 ** round(math.log2(len(leaf))), leaf)
    if bool(slope.isnan().any()):
        raise UnitError("NaN gradient: its sign says nothing of where to go")
    return Gradient(logits=logits.detach(), sign=slope.sign())


def fgsm_normalised(target: Target, pixels: Tensor, labels: Tensor, *, eps: float, steps: int, seed: int) -> Tensor:
    """clamp(n + eps * sign(d CE / dn), 0, 1) of the normalised images n, as pixels again: (B, 3, H, W).

    `steps` and `seed` do not matter to it. The sign is that for pixels, as every std is positive.
    """
    sign = gradient(target, pixels, labels).sign
    black, white = (target.normalise(torch.full_like(pixels[:1], value)) for value in (0.0, 1.0))
    cut = (target.normalise(pixels) + eps * sign).clamp_(0, 1)
    return (cut - black) / (white - black)
