"""Detectors of two steps, regions and their classes: Faster, Mask, Cascade and Cascade Mask R-CNN."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Final

from torch import nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from stmbench.architectures.base import REMEDY
from stmbench.architectures.detectors.base import DETECTORS, AnchorConfig, CreateBackbone, DetectorEntry
from stmbench.architectures.detectors.pyramid import (
    Described,
    Norm,
    Pyramid,
    group_norm,
    image_transform,
    initialise,
)
from stmbench.architectures.detectors.region_heads import CASCADE, ONE, StagedHeads, StageOptions
from stmbench.architectures.detectors.regions import proposal_network
from stmbench.architectures.detectors.trunk import attach
from stmbench.errors import require

NORMS: Final = {"none": None, "group": group_norm}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegionConfig(AnchorConfig):
    """Options of a detector that cuts regions out of its maps.

    Attributes:
        proposals: the most regions of an image; in training torchvision takes twice as many.
        samples: regions of an image that a stage's losses are of.
        positives: the largest share of them that are positive.
        norm: `group` puts a GroupNorm after each convolution of the pyramid and of the heads, as He et al.,
            "Rethinking ImageNet Pre-training", ICCV 2019, do for training from random weights.
        box_convs: 3 x 3 convolutions of a box head, before one fully connected layer; 0: two such layers instead.
    """

    proposals: int = 1000
    samples: int = 512
    positives: float = 0.25
    norm: Norm = "none"
    box_convs: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.proposals >= 1, "proposals >= 1", self.proposals, REMEDY)
        require(self.samples >= 4, "samples >= 4", self.samples, REMEDY)
        require(0 < self.positives < 1, "positives between 0 and 1", self.positives, REMEDY)
        require(self.norm in NORMS, f"norm {' or '.join(NORMS)}", self.norm, REMEDY)
        require(self.box_convs >= 0, "box_convs >= 0", self.box_convs, REMEDY)


class RegionDetector(Described, GeneralizedRCNN):  # type: ignore[misc]  # torchvision has no types
    """A pyramid, a region proposal network and heads.

    Args:
        stages: of the heads.
        masks: whether masks are predicted.
    """

    def __init__(self, pyramid: Pyramid, config: RegionConfig, stages: Sequence[StageOptions], *, masks: bool) -> None:
        mmdet = config.heads == "mmdet"
        proposals = proposal_network(config.width, config.anchor_size, config.proposals, mmdet=mmdet)
        heads = StagedHeads(
            stages,
            config.width,
            config.num_classes,
            anchor_size=config.anchor_size,
            samples=config.samples,
            positives=config.positives,
            masks=masks,
            mmdet=mmdet,
            norm=NORMS[config.norm],
            box_convs=config.box_convs,
        )
        super().__init__(pyramid, proposals, heads, image_transform(config, pyramid.body.trunk))
        self.num_classes, self.has_masks, self.config = config.num_classes, masks, config
        if mmdet:
            initialise(pyramid.fpn, heads)


def build(
    create: CreateBackbone, config: RegionConfig, *, stages: Sequence[StageOptions] = ONE, masks: bool = False
) -> nn.Module:
    """A detector on the trunk's four maps and one coarser one."""
    body = attach(create, config.trunk)
    pyramid = Pyramid(body, config.width, LastLevelMaxPool(), norm=NORMS[config.norm])
    return RegionDetector(pyramid, config, stages, masks=masks)


def _register(name: str, title: str, citation: str, stages: Sequence[StageOptions], *, masks: bool) -> None:
    entry = DetectorEntry(
        name=name,
        title=title,
        citation=citation,
        build=functools.partial(build, stages=stages, masks=masks),
        config=RegionConfig,
        has_masks=masks,
    )
    DETECTORS.register(name, entry)


_register("fasterrcnn", "Faster R-CNN", "Ren et al., Faster R-CNN, NeurIPS 2015", ONE, masks=False)
_register("maskrcnn", "Mask R-CNN", "He et al., Mask R-CNN, ICCV 2017", ONE, masks=True)
_register("cascade-rcnn", "Cascade R-CNN", "Cai and Vasconcelos, Cascade R-CNN, CVPR 2018", CASCADE, masks=False)
_register(
    "cascade-maskrcnn", "Cascade Mask R-CNN", "Cai and Vasconcelos, Cascade R-CNN, TPAMI 2019", CASCADE, masks=True
)
