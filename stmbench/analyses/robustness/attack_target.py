"""A model as attacks see it: pixels in [0, 1] go in, float32 logits come out, and normalisation happens inside.

The attack then lives on the scale that eps is stated on. Attacking normalised inputs as though they were pixels is the
common mistake, which `mistakes` keeps: a pixel then moves by eps * std, and the clamp to [0, 1] cuts much of it away.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from stmbench.analyses.subjects import finite

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
