"""How much a model's mixers contribute to the residual stream.

If layer scale starts at 1e-6, an untrained model passes its input through almost unchanged by its mixers, so that all
mixers look alike in receptive fields and in the losses of the first epochs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from stmbench.architectures.blocks import Branch

FAINT: Final = 0.01  # below this ratio users are warned
SMALL_LAYER_SCALE: Final = 0.1  # below it layer scale is the reason


def mixer_contribution(model: nn.Module, size: tuple[int, int]) -> float | None:
    """The largest ratio over the blocks: RMS of the mixer's branch over RMS of the stream that it is added to.

    Measured in one forward pass of two images of noise.

    Args:
        size: (H, W) of the images.

    Returns:
        None for a model without residual branches around its mixers, or if the pass fails or is not finite.
    """
    branches = _branches(model)
    if not branches:
        return None
    ratios: list[float] = []

    def record(branch: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        x, y = (argument.detach().float() for argument in arguments)
        scale = cast("Branch", branch).scale
        added = y if scale is None else y * scale.detach().float()
        ratios.append(float(added.norm() / x.norm().clamp_min(1e-30)))

    handles = [branch.register_forward_pre_hook(record) for branch in branches]
    training = model.training
    try:
        like = next(model.parameters())
        pixels = torch.rand((2, 3, *size), generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            model.eval()(((pixels - 0.5) / 0.25).to(like.device, like.dtype))
    except Exception:  # the analysis itself reports what is wrong with the model
        return None
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    largest = max(ratios, default=math.nan)
    return largest if math.isfinite(largest) else None


def faint_mixers(label: str, model: nn.Module, size: tuple[int, int]) -> dict[str, Any]:
    """A unit's metadata: `faint_mixers`, the mixers' contribution by `label` if layer scale makes it less than FAINT.

    Empty for other models: if layer scale is not the reason (weights start small too), changing it is no remedy.
    """
    scales = [branch.scale for branch in _branches(model) if branch.scale is not None]
    if not scales or max(float(scale.detach().float().square().mean().sqrt()) for scale in scales) >= SMALL_LAYER_SCALE:
        return {}
    contribution = mixer_contribution(model, size)
    if contribution is None or contribution >= FAINT:
        return {}
    return {"faint_mixers": {label: contribution}}


def _branches(model: nn.Module) -> list[Branch]:
    """The ends of the mixers' residual branches; none for a model that does not list its mixers."""
    from stmbench.architectures.blocks import Branch  # and timm with it, which a plan does without

    method = getattr(model, "mixers", None)
    paths = [path for _, path, _ in method()] if callable(method) else []
    blocks = [model.get_submodule(path.rpartition(".")[0]) for path in paths]
    return [branch for block in blocks if isinstance(branch := getattr(block, "branch1", None), Branch)]
