"""Gradient maps of a batch: of the central unit of each stage, to the input alone, from one forward pass.

What is differentiated is the sum over channels of the ReLU of the unit's activations. (A plain sum would not do: after
a LayerNorm it is a constant, and its gradient zero.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from stmbench.analyses.erf.stages import Stage, stage_maps
from stmbench.errors import UnitError


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientMaps:
    """Of one stage and a batch, both (B, H, W) float32 on the CPU.

    `magnitude` is the Euclidean norm of the gradient over the image's channels, `rectified` the sum over channels of
    its positive part.
    """

    magnitude: Tensor
    rectified: Tensor


def gradient_maps(model: nn.Module, stages: Sequence[Stage], images: Tensor) -> Iterator[GradientMaps]:
    """The maps of each stage, in their order.

    Args:
        images: (B, 3, H, W), the model's input. Its images are independent of each other in eval mode, so the gradient
            of the batch's sum is each image's own.

    Raises:
        UnitError: a gradient that is not finite.
    """
    images = images.detach().requires_grad_(True)
    maps = stage_maps(model, stages, images)
    for number, (stage, found) in enumerate(zip(stages, maps, strict=True)):
        unit = found[:, :, found.shape[2] // 2, found.shape[3] // 2]
        (gradient,) = torch.autograd.grad(unit.relu().sum(), images, retain_graph=number + 1 < len(maps))
        gradient = gradient.float()
        if not bool(torch.isfinite(gradient).all()):
            raise UnitError(f"the gradient of stage {stage.number + 1} is not finite")
        yield GradientMaps(
            magnitude=gradient.square().sum(1).sqrt().cpu(), rectified=gradient.relu().sum(1).cpu()
        )  # fmt: skip
