"""The feature pyramid (Lin et al., CVPR 2017) on a trunk's maps, and what every detector says of itself."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, cast

from torch import Tensor, nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import Conv2dNormActivation
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, FeaturePyramidNetwork

from stmbench.architectures.detectors.base import PATCH, DetectorConfig
from stmbench.architectures.detectors.trunk import Body
from stmbench.architectures.input_config import IMAGENET
from stmbench.kernels import group_norm as kernels
from stmbench.kernels import setting

Norm = Literal["none", "group"]
MakeNorm = Callable[[int], nn.Module]


class GroupNorm(nn.GroupNorm):
    """PyTorch's, faster on a CPU where channels lie side by side; with `relu` values below zero become zero."""

    relu = False

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        x, weight, bias = input, self.weight, self.bias
        if x.dtype == weight.dtype and x.dtype in setting.WHOLE and setting.can_run(x, weight):
            return cast(Tensor, kernels.group_norm(x, weight, bias, self.num_groups, self.eps, self.relu)[0])
        y = super().forward(x)
        return y.relu() if self.relu else y


def group_norm(channels: int) -> GroupNorm:
    """32 groups, or fewer for fewer channels: groups have four channels or more."""
    return GroupNorm(math.gcd(32, max(1, channels // 4)), channels)


def norms_with_relu(heads: nn.Module) -> None:
    """Let each norm of `group_norm` do what the ReLU after it does; no name in the state changes."""
    for layers in heads.modules():
        if isinstance(layers, Conv2dNormActivation) and isinstance(layers[1], GroupNorm):
            layers[1].relu, layers[2] = True, nn.Identity()


class Pyramid(nn.Module):
    """Images (B, 3, H, W) -> maps of `width` channels by name: '0', '1', ... and those of `extra`, which makes the
    coarser ones. `norm` (channels -> norm) follows each convolution of the pyramid."""

    def __init__(self, body: Body, width: int, extra: ExtraFPNBlock, *, norm: MakeNorm | None = None) -> None:
        super().__init__()
        self.body, self.out_channels = body, width
        self.fpn = FeaturePyramidNetwork(list(body.channels), width, extra, norm)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) -> maps (B, width, H', W'), largest first."""
        named: dict[str, Tensor] = self.fpn(OrderedDict((str(i), x) for i, x in enumerate(self.body(images))))
        return named


class CoarserFromTrunk(ExtraFPNBlock):  # type: ignore[misc]  # torchvision has no types
    """Two coarser levels made of the trunk's last map, as MMDetection's RetinaNet has them: no ReLU between them."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.p6, self.p7 = nn.Conv2d(channels, width, 3, 2, 1), nn.Conv2d(width, width, 3, 2, 1)

    def forward(self, p: list[Tensor], c: list[Tensor], names: list[str]) -> tuple[list[Tensor], list[str]]:
        """Append two levels to the pyramid's maps `p`, of the trunk's maps `c`."""
        p6 = self.p6(c[-1])
        return [*p, p6, self.p7(p6)], [*names, "p6", "p7"]


def initialise(pyramid: nn.Module, heads: nn.Module | None = None) -> None:
    """Initialise as MMDetection does: Xavier; class scores and boxes of `heads` from narrow normal distributions."""
    for module in pyramid.modules():
        if isinstance(module, nn.Conv2d):
            _start(module)
    for path, module in [] if heads is None else heads.named_modules():
        if isinstance(module, nn.Linear):
            _start(module, {"cls_score": 0.01, "bbox_pred": 0.001}.get(path.rpartition(".")[2]))


def _start(module: nn.Linear | nn.Conv2d, deviation: float | None = None) -> None:
    if deviation is None:
        nn.init.xavier_uniform_(module.weight)
    else:
        nn.init.normal_(module.weight, std=deviation)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


# the first that matches: part -> regular expression of the paths of its modules and parameters
PARTS: Final = {
    "pyramid": r"backbone\.fpn(\..*)?",
    "backbone": r"backbone(\..*)?",
    "proposals": r"rpn(\..*)?",
    "boxes": r"roi_heads\.box_.+",
    "masks": r"roi_heads\.mask_.+",
    "heads": r"head(\..*)?",
    "transformer": r"transformer(\..*)?",
}


class Described:
    """What every detector says of itself (see `base.Detector`)."""

    parts: Mapping[str, str] = PARTS
    num_classes: int
    has_masks: bool = False
    backbone: nn.Module

    @property
    def trunk(self) -> nn.Module:
        """The classification model inside the backbone."""
        return cast(Pyramid, self.backbone).body.trunk


class ImageTransform(GeneralizedRCNNTransform):  # type: ignore[misc]  # torchvision has no types
    """torchvision's, but images of the right size are left alone rather than resampled to the same pixels."""

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        """An image (3, H, W) and its target at the size that the detector wants."""
        shorter, longer = sorted(image.shape[-2:])
        if tuple(self.min_size) != (shorter,) or longer > self.max_size:
            return cast(tuple[Tensor, dict[str, Tensor] | None], super().resize(image, target))
        if self.training:
            self.torch_choice(self.min_size)  # random numbers drawn later stay as they are
        return image, target


def image_transform(config: DetectorConfig, trunk: nn.Module) -> GeneralizedRCNNTransform:
    """Resizes images and targets, normalises as the trunk wants it, pads, and maps detections back."""
    described: Mapping[str, Any] = getattr(trunk, "default_cfg", None) or {}
    mean, deviation = (list(described.get(k, v)) for k, v in zip(("mean", "std"), IMAGENET, strict=True))
    return ImageTransform(config.min_size, config.max_size, mean, deviation, size_divisible=PATCH)
