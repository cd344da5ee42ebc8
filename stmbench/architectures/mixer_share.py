"""How much a model's mixers have to say: the share of their branches in the residual stream.

Where layer scale begins at 1e-6, an untrained model passes its input on and hardly asks its mixers: all of them look
alike then, in receptive fields and in the losses of the first epochs.
"""

from __future__ import annotations

import math
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from stmbench.architectures.blocks import Branch

FAINT: Final = 0.01  # below this share it is said
HELD_BACK: Final = 0.1  # a layer scale below it is why


def mixer_share(model: nn.Module, size: tuple[int, int]) -> float | None:
    """The largest share, over the blocks, of root mean squares: the mixer's branch over the stream it is added to.

    Measured on one pass of two images of noise. None for a model without residual branches around its mixers, and where
    the pass fails or is not finite.

    Args:
        size: (H, W) of the images.
    """
    branches = _branches(model)
    if not branches:
        return None
    shares: list[float] = []

    def see(branch: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        x, y = (argument.detach().float() for argument in arguments)
        scale = cast(Branch, branch).scale
        added = y if scale is None else y * scale.detach().float()
        shares.append(float(added.norm() / x.norm().clamp_min(1e-30)))

    handles = [branch.register_forward_pre_hook(see) for branch in branches]
    training = model.training
    try:
        like = next(model.parameters())
        pixels = torch.rand((2, 3, *size), generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            model.eval()(((pixels - 0.5) / 0.25).to(like.device, like.dtype))
    except Exception:  # the analysis itself will say what is wrong with the model
        return None
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    found = max(shares, default=math.nan)
    return found if math.isfinite(found) else None


def faint_mixers(label: str, model: nn.Module, size: tuple[int, int]) -> dict[str, Any]:
    """Metadata of a unit: `faint_mixers`, the share by `label` where it is below FAINT because of layer scale.

    Nothing for all others: where layer scale is not the reason (weights begin small as well), it is no remedy either.
    """
    scales = [branch.scale for branch in _branches(model) if branch.scale is not None]
    if not scales or max(float(scale.detach().float().square().mean().sqrt()) for scale in scales) >= HELD_BACK:
        return {}
    share = mixer_share(model, size)
    if share is None or share >= FAINT:
        return {}
    return {"faint_mixers": {label: share}}


def _branches(model: nn.Module) -> list[Branch]:
    """The ends of the residual branches that hold the mixers; none for a model that does not name its mixers."""
    method = getattr(model, "mixers", None)
    paths = [path for _, path, _ in method()] if callable(method) else []
    blocks = [model.get_submodule(path.rpartition(".")[0]) for path in paths]
    return [branch for block in blocks if isinstance(branch := getattr(block, "branch1", None), Branch)]
