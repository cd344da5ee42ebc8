"""Faster R-CNN (Ren et al. 2015) and Mask R-CNN (He et al. 2017) with a feature pyramid: torchvision's.

Anchors have three ratios and one size per level, 8 strides at the default `anchor_size`; regions go to the pyramid's
level by their size, as in Lin et al. 2017, with 7 `anchor_size` for the 224 pixels of their equation 1.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from torch import nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from stmbench.architectures.backbone import REMEDY
from stmbench.architectures.detectors.base import DETECTORS, CreateBackbone, DetectorConfig, DetectorEntry
from stmbench.architectures.detectors.pyramid import Described, Pyramid, preprocessing
from stmbench.architectures.detectors.trunk import attach
from stmbench.errors import require

POOLED: Final = ("0", "1", "2", "3")  # the maps that regions are cut from
RATIOS: Final = (0.5, 1.0, 2.0)
CANONICAL: Final = 7  # a region of 7 smallest anchors a side is cut from the third map


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegionConfig(DetectorConfig):
    """Options of a detector that cuts regions out of its maps.

    Attributes:
        proposals: the most regions of an image; in training twice as many.
    """

    proposals: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.proposals >= 1, "proposals >= 1", self.proposals, REMEDY)


class FasterRcnn(Described, FasterRCNN):  # type: ignore[misc]  # torchvision has no types
    """Boxes from regions."""


class MaskRcnn(Described, MaskRCNN):  # type: ignore[misc]  # torchvision has no types
    """Boxes and masks from regions."""

    has_masks = True


def region_parts(create: CreateBackbone, config: RegionConfig) -> dict[str, Any]:
    """Arguments of torchvision's region-based detectors, but for the classes and the mask head."""
    pyramid = Pyramid(attach(create, config.trunk), config.width, LastLevelMaxPool())
    sizes = tuple((config.anchor_size * 2**level,) for level in range(len(POOLED) + 1))
    return {
        "backbone": pyramid,
        "rpn_anchor_generator": AnchorGenerator(sizes, (RATIOS,) * len(sizes)),
        "rpn_pre_nms_top_n_train": 2 * config.proposals,
        "rpn_pre_nms_top_n_test": config.proposals,
        "rpn_post_nms_top_n_train": 2 * config.proposals,
        "rpn_post_nms_top_n_test": config.proposals,
        "box_roi_pool": roi_align(config, 7),
        "box_head": TwoMLPHead(config.width * 7**2, 4 * config.width),
        "box_predictor": FastRCNNPredictor(4 * config.width, config.num_classes + 1),
        **preprocessing(config, pyramid.body.trunk),
    }


def roi_align(config: DetectorConfig, side: int) -> MultiScaleRoIAlign:
    """Cuts maps of side x side out of the pyramid."""
    return MultiScaleRoIAlign(list(POOLED), side, 2, canonical_scale=CANONICAL * config.anchor_size)


def build_faster_rcnn(create: CreateBackbone, config: RegionConfig) -> nn.Module:
    """Faster R-CNN."""
    detector = FasterRcnn(**region_parts(create, config))
    detector.num_classes = config.num_classes
    return detector


def build_mask_rcnn(create: CreateBackbone, config: RegionConfig) -> nn.Module:
    """Mask R-CNN."""
    width = config.width
    detector = MaskRcnn(
        mask_roi_pool=roi_align(config, 14),
        mask_head=MaskRCNNHeads(width, (width,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(width, width, config.num_classes + 1),
        **region_parts(create, config),
    )
    detector.num_classes = config.num_classes
    return detector


DETECTORS.register(
    "fasterrcnn",
    DetectorEntry(
        name="fasterrcnn",
        title="Faster R-CNN",
        citation="Ren et al., Faster R-CNN, NeurIPS 2015",
        build=build_faster_rcnn,
        config=RegionConfig,
    ),
)
DETECTORS.register(
    "maskrcnn",
    DetectorEntry(
        name="maskrcnn",
        title="Mask R-CNN",
        citation="He et al., Mask R-CNN, ICCV 2017",
        build=build_mask_rcnn,
        config=RegionConfig,
        has_masks=True,
    ),
)
