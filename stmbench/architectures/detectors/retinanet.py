"""RetinaNet (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017): torchvision's, with labels from 1.

`heads=mmdet` differs from torchvision's: coarser levels come out of the trunk's last map and not out of the pyramid's,
anchors are not rounded, losses are divided by the positive anchors of the batch and not of each image, and an image has
100 detections, not 300. It also has the pyramid's initialisation and the coder's limit of `regions`.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import box_iou
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from stmbench.architectures.detectors.base import DETECTORS, AnchorConfig, CreateBackbone, DetectorEntry
from stmbench.architectures.detectors.pyramid import CoarserFromTrunk, Described, Pyramid, image_transform, initialise
from stmbench.architectures.detectors.regions import RATIOS, anchors, box_coder, full
from stmbench.architectures.detectors.trunk import attach

LEVELS: Final = 5  # strides 8 to 128
OCTAVE: Final = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))


class FullHead(RetinaNetHead):  # type: ignore[misc]  # torchvision has no types
    """Logits and box codes in float32."""

    def forward(self, x: list[Tensor]) -> dict[str, Tensor]:
        """Maps of the levels -> logits (B, anchors, classes) and codes (B, anchors, 4)."""
        return {name: full(value) for name, value in super().forward(x).items()}


class Retina(Described, RetinaNet):  # type: ignore[misc]  # torchvision has no types
    """Boxes from anchors. Its heads have no channel for the background: label k is channel k - 1."""

    def __init__(self, pyramid: Pyramid, config: AnchorConfig) -> None:
        mmdet = config.heads == "mmdet"
        sizes = tuple(tuple(config.anchor_size * 2**level * step for step in OCTAVE) for level in range(LEVELS))
        generator = anchors(sizes, mmdet=mmdet)
        most = 100 if mmdet else 300
        head = FullHead(config.width, len(OCTAVE) * len(RATIOS), config.num_classes)
        super().__init__(pyramid, config.num_classes, anchor_generator=generator, head=head, detections_per_img=most)
        self.transform = image_transform(config, pyramid.body.trunk)
        self.box_coder = self.head.regression_head.box_coder = box_coder((1.0, 1.0, 1.0, 1.0), mmdet=mmdet)
        self.num_classes, self.config, self.mmdet = config.num_classes, config, mmdet
        if mmdet:
            initialise(pyramid.fpn)

    def forward(self, images: list[Tensor], targets: list[dict[str, Any]] | None = None) -> Any:
        """Losses by name in training, detections of each image in eval mode."""
        if targets is not None:
            targets = [{**target, "labels": target["labels"] - 1} for target in targets]
        output = super().forward(images, targets)
        if self.training:
            return output
        return [{**detections, "labels": detections["labels"] + 1} for detections in output]

    def compute_loss(self, targets: Any, head_outputs: dict[str, Tensor], anchors: list[Tensor]) -> dict[str, Tensor]:
        """Losses by name; `heads=mmdet` divides by the positive anchors of the batch."""
        if not self.mmdet or len(targets) == 1:
            losses: dict[str, Tensor] = super().compute_loss(targets, head_outputs, anchors)
            return losses
        totals: dict[str, Tensor] = {}
        positive = 0
        for index, (target, own) in enumerate(zip(targets, anchors, strict=True)):
            outputs = {name: value[index : index + 1] for name, value in head_outputs.items()}
            number = self._positive(target["boxes"], own)
            for name, loss in super().compute_loss([target], outputs, [own]).items():
                totals[name] = totals.get(name, torch.zeros_like(loss)) + loss * max(1, number)
            positive += number
        return {name: total / max(1, positive) for name, total in totals.items()}

    def _positive(self, boxes: Tensor, anchors: Tensor) -> int:
        """How many anchors are positive."""
        return int((self.proposal_matcher(box_iou(boxes, anchors)) >= 0).sum()) if len(boxes) else 0


def build_retinanet(create: CreateBackbone, config: AnchorConfig) -> nn.Module:
    """RetinaNet on the trunk's last three maps and two coarser ones."""
    body, width = attach(create, config.trunk, first=1), config.width
    mmdet = config.heads == "mmdet"
    coarser = CoarserFromTrunk(body.channels[-1], width) if mmdet else LastLevelP6P7(width, width)
    return Retina(Pyramid(body, width, coarser), config)


DETECTORS.register(
    "retinanet",
    DetectorEntry(
        name="retinanet",
        title="RetinaNet",
        citation="Lin et al., Focal Loss for Dense Object Detection, ICCV 2017",
        build=build_retinanet,
        config=AnchorConfig,
    ),
)
