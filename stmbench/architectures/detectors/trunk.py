"""A classification model as the trunk of a detector: an image in, maps of strides 4, 8, 16 and 32 out.

With `trunk=authors` our backbones are changed as Hu et al. change theirs: the norms after the stages are dropped, so
that each transition gets un-normalised maps; a position embedding goes into the first mixer alone and not into the
residual stream. Fresh LayerNorms follow, one for each map that the detector uses. `trunk=classification` keeps the
trunk as it is, without fresh norms. A trunk without any LayerNorm outside its mixers (a ResNet) gets no fresh one
either: its maps come out of BatchNorm and ReLU.

Mixers treat maps that their windows do not divide as Hu et al.'s detection code does: Halo and Swin attention pad below
and to the right after the norm and before the cyclic shift, the padding is attended to, and it is cut off before the
projection. One difference is left: our Swin attention does not shift on a map that has no more than a window's rows or
columns (images of up to 224 pixels at stride 32), theirs does. Their reference points of DCNv3 are right for multiples
of 32 alone; images are padded to these.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from stmbench.architectures.backbone import Backbone
from stmbench.architectures.detectors.base import CreateBackbone, TrunkForm
from stmbench.architectures.layers import NORM_EPS
from stmbench.errors import CheckpointError, ConfigError

STRIDES: Final = (4, 8, 16, 32)


class Body(nn.Module):
    """A trunk and the norms after it: images (B, 3, H, W) -> maps (B, C, H / stride, W / stride).

    Attributes:
        trunk: the classification model without what follows its last map.
        indices: of the maps among those of the trunk.
        channels: of the maps.
        norms: of the maps, or none where they are used as they are.
        feature_info: of all four maps, as timm describes those of a model.
        dropped: names in the classification model's state that the trunk does not have.
    """

    def __init__(
        self, trunk: nn.Module, indices: Sequence[int], channels: Sequence[int], *, dropped: Sequence[str], fresh: bool
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.indices, self.channels, self.dropped = list(indices), tuple(channels), tuple(dropped)
        self.norms = nn.ModuleList(nn.LayerNorm(c, eps=NORM_EPS) for c in channels if fresh)
        self._levels = range(self.indices[-1] - len(STRIDES) + 1, self.indices[-1] + 1)
        infos = [cast(Any, trunk).feature_info[index] for index in self._levels]
        self.feature_info = [{**info, "module": f"trunk.{info['module']}"} for info in infos]

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> maps (B, C, H', W'), largest first."""
        return self._maps(images, self.indices)

    def forward_intermediates(self, images: Tensor, indices: Sequence[int], **_: Any) -> list[Tensor]:
        """Of the four maps those with these numbers, ascending: normalised where the detector uses them so."""
        return self._maps(images, [self._levels[number] for number in indices])

    def _maps(self, images: Tensor, levels: list[int]) -> list[Tensor]:
        maps = cast(Any, self.trunk).forward_intermediates(images, indices=levels, intermediates_only=True)
        return [self._normalised(x, level) for x, level in zip(maps, levels, strict=True)]

    def _normalised(self, x: Tensor, level: int) -> Tensor:
        if not len(self.norms) or level not in self.indices:
            return x
        norm = self.norms[self.indices.index(level)]
        return cast(Tensor, norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


def attach(create: CreateBackbone, form: TrunkForm, *, first: int = 0) -> Body:
    """The model that `create` makes, as a trunk whose maps are used from the `first` of the four on.

    Raises:
        ConfigError: it has no maps of strides 4, 8, 16 and 32, or takes images of one size alone.
    """
    model = create()
    if isinstance(model, Backbone) and model.only_size is not None:
        mixer, (height, width) = model.only_size
        got = f"{mixer}, which takes one size alone, here images of {height}x{width}"
        raise ConfigError("a mixer for maps of any size in a detector", got, "use another mixer")
    if "strict_img_size" in inspect.signature(type(model).__init__).parameters:  # timm: any size of images
        model = create(strict_img_size=False)
    levels = _levels(model)
    names = list(model.state_dict())
    fresh = form == "authors" and _has_layer_norm(model)
    if form == "authors" and isinstance(model, Backbone):
        model.drop_stage_norms()
    model.prune_intermediate_layers(list(levels), prune_norm=True, prune_head=True)  # type: ignore[operator]
    kept = model.state_dict().keys()
    indices, channels = list(levels)[first:], list(levels.values())[first:]
    return Body(model, indices, channels, dropped=[name for name in names if name not in kept], fresh=fresh)


def _levels(model: nn.Module) -> dict[int, int]:
    """Index -> channels of a model's maps of strides 4, 8, 16 and 32."""
    expected = "a backbone with four stages of strides 4, 8, 16, 32"
    infos = getattr(model, "feature_info", None)
    if not isinstance(infos, list) or not callable(getattr(model, "forward_intermediates", None)):
        remedy = "use a model with timm's feature_info and forward_intermediates"
        raise ConfigError(expected, f"{type(model).__name__} without stages", remedy)
    last = list(enumerate(infos))[-len(STRIDES) :]
    if tuple(info["reduction"] for _, info in last) != STRIDES:
        strides = ", ".join(str(info["reduction"]) for info in infos)
        raise ConfigError(expected, f"strides {strides}", "use a backbone whose maps shrink from stage to stage")
    return {index: int(info["num_chs"]) for index, info in last}


def _has_layer_norm(model: nn.Module) -> bool:
    mixers = [f"{path}." for _, path, _ in model.mixers()] if isinstance(model, Backbone) else []
    return any(
        isinstance(module, nn.LayerNorm) and not any(f"{path}.".startswith(mixer) for mixer in mixers)
        for path, module in model.named_modules()
    )


def body_of(detector: nn.Module) -> Body:
    """What a detector makes its maps with."""
    return next(module for module in detector.modules() if isinstance(module, Body))


def load_trunk(detector: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Load weights of the backbone's classification model into a detector's trunk.

    Args:
        state: under the classification model's own names.

    Returns:
        The names that were left: of the head, and of norms that the trunk has not.

    Raises:
        CheckpointError: a tensor is missing, unknown or of another shape; the detector is left unchanged.
    """
    body = body_of(detector)
    wanted = body.trunk.state_dict()
    left = [name for name in state if name not in wanted]
    problems = {
        "missing": [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")],
        "unexpected": [name for name in left if name not in body.dropped],
        "misshapen": [n for n, value in state.items() if n in wanted and value.shape != wanted[n].shape],
    }
    if any(problems.values()):
        got = ", ".join(f"{len(names)} {kind} ({names[0]} ...)" for kind, names in problems.items() if names)
        expected = f"the {len(wanted)} tensors of the trunk"
        raise CheckpointError(expected, got, "give the weights of the backbone's classification model")
    with torch.no_grad():
        for name, value in state.items():
            if name in wanted:
                wanted[name].copy_(value)
    return left
