"""RetinaNet (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017): torchvision's, with labels from 1."""

from __future__ import annotations

from typing import Any, Final

from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from stmbench.architectures.detectors.base import DETECTORS, CreateBackbone, DetectorConfig, DetectorEntry
from stmbench.architectures.detectors.pyramid import Described, Pyramid, preprocessing
from stmbench.architectures.detectors.trunk import attach

LEVELS: Final = 5  # strides 8 to 128
RATIOS: Final = (0.5, 1.0, 2.0)
OCTAVE: Final = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))


class Retina(Described, RetinaNet):  # type: ignore[misc]  # torchvision has no types
    """Boxes from anchors. Its heads have no channel for the background: label k is channel k - 1."""

    def forward(self, images: list[Tensor], targets: list[dict[str, Any]] | None = None) -> Any:
        """Losses by name in training, detections of each image in eval mode."""
        if targets is not None:
            targets = [{**target, "labels": target["labels"] - 1} for target in targets]
        output = super().forward(images, targets)
        if self.training:
            return output
        return [{**detections, "labels": detections["labels"] + 1} for detections in output]


def build_retinanet(create: CreateBackbone, config: DetectorConfig) -> nn.Module:
    """RetinaNet on the trunk's last three maps and two coarser ones."""
    pyramid = Pyramid(attach(create, config.trunk, first=1), config.width, LastLevelP6P7(config.width, config.width))
    bases = [config.anchor_size * 2**level for level in range(LEVELS)]
    sizes = tuple(tuple(int(base * step) for step in OCTAVE) for base in bases)
    detector = Retina(
        pyramid,
        config.num_classes,
        anchor_generator=AnchorGenerator(sizes, (RATIOS,) * LEVELS),
        **preprocessing(config, pyramid.body.trunk),
    )
    detector.num_classes = config.num_classes
    return detector


DETECTORS.register(
    "retinanet",
    DetectorEntry(
        name="retinanet",
        title="RetinaNet",
        citation="Lin et al., Focal Loss for Dense Object Detection, ICCV 2017",
        build=build_retinanet,
    ),
)
