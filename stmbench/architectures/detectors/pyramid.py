"""The feature pyramid (Lin et al., CVPR 2017) on a trunk's four maps, and what every detector says of itself."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, cast

from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, FeaturePyramidNetwork

from stmbench.architectures.detectors.base import PATCH, DetectorConfig
from stmbench.architectures.detectors.trunk import Body

IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean, standard deviation


class Pyramid(nn.Module):
    """Images (B, 3, H, W) -> maps of `width` channels by name: '0', '1', ... and those of `extra`, which makes the
    coarser ones."""

    def __init__(self, body: Body, width: int, extra: ExtraFPNBlock) -> None:
        super().__init__()
        self.body, self.out_channels = body, width
        self.fpn = FeaturePyramidNetwork(list(body.channels), width, extra)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) -> maps (B, width, H', W'), largest first."""
        named: dict[str, Tensor] = self.fpn(OrderedDict((str(i), x) for i, x in enumerate(self.body(images))))
        return named


class Described:
    """What every detector says of itself (see `base.Detector`)."""

    num_classes: int
    has_masks: bool = False
    backbone: nn.Module

    @property
    def trunk(self) -> nn.Module:
        """The classification model inside the backbone."""
        return cast(Pyramid, self.backbone).body.trunk


def preprocessing(config: DetectorConfig, trunk: nn.Module) -> dict[str, Any]:
    """Arguments of torchvision's detectors: how images are resized, normalised as the trunk wants them, and padded."""
    described: Mapping[str, Any] = getattr(trunk, "default_cfg", None) or {}
    return {
        "min_size": config.min_size,
        "max_size": config.max_size,
        "image_mean": list(described.get("mean", IMAGENET[0])),
        "image_std": list(described.get("std", IMAGENET[1])),
        "size_divisible": PATCH,
    }
