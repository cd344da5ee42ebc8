"""Detectors that predict a set of boxes: images, targets, losses and detections around a transformer.

Matching and losses are those of Hugging Face's transformers, with DETR's weights. With the focal loss, classes weigh 2
in the matching and in the loss, as in Deformable DETR's code; the library has 1. In several processes, each divides its
losses by its own objects.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar, Final

from torch import Tensor, nn
from torchvision.ops import box_convert, clip_boxes_to_image

from stmbench.architectures.base import REMEDY
from stmbench.architectures.detectors.base import DETECTORS, CreateBackbone, DetectorConfig, DetectorEntry
from stmbench.architectures.detectors.pyramid import Described, image_transform
from stmbench.architectures.detectors.regions import full
from stmbench.architectures.detectors.trunk import Body, attach
from stmbench.errors import require

MOST: Final = 100  # detections of an image
COSTS: Final = {"class_cost": 1, "bbox_cost": 5, "giou_cost": 2}  # of the matching, and weights of the losses
Sizes = Sequence[tuple[int, int]]  # heights and widths in pixels, without the padding


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetConfig(DetectorConfig):
    """Options of a detector that predicts a set of boxes; `width` is the transformer's.

    Attributes:
        queries: the most objects of an image.
        layers: of the encoder, and of the decoder.
        attention_heads: of each attention.
        dim_feedforward: channels of the hidden layers.
    """

    queries: int = 100
    layers: int = 6
    attention_heads: int = 8
    dim_feedforward: int = 2048

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("queries", "layers", "attention_heads", "dim_feedforward"):
            require(getattr(self, name) >= 1, f"{name} >= 1", getattr(self, name), REMEDY)
        step = math.lcm(4, self.attention_heads)  # sines and cosines of two coordinates
        require(self.width % step == 0, f"width divisible by {step}", self.width, REMEDY)


class SetTransformer(nn.Module, abc.ABC):
    """Encoder, decoder and heads: a map -> logits and boxes after each layer of the decoder.

    Attributes:
        focal: whether classes are scored each on its own, without one for no object.
    """

    focal: ClassVar[bool]

    @abc.abstractmethod
    def forward(self, maps: Tensor, sizes: Sizes | None = None) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> logits (layers, B, queries, classes) and boxes (layers, B, queries, 4).

        A box is x and y of its centre, width and height, as shares of those of the image in `sizes`.
        """


class SetDetector(Described, nn.Module):
    """A trunk's last map and a transformer that predicts a set of boxes; none is suppressed for another."""

    backbone: Body

    def __init__(self, body: Body, transformer: SetTransformer, config: SetConfig) -> None:
        super().__init__()
        self.backbone, self.transformer, self.config = body, transformer, config
        self.transform = image_transform(config, body.trunk)
        self.num_classes = config.num_classes

    @property
    def trunk(self) -> nn.Module:
        """The classification model inside the backbone."""
        return self.backbone.trunk

    def forward(self, images: list[Tensor], targets: list[dict[str, Any]] | None = None) -> Any:
        """Losses by name in training, detections of each image in eval mode."""
        given = [(image.shape[-2], image.shape[-1]) for image in images]
        batch, targets = self.transform(images, targets)
        sizes: Sizes = batch.image_sizes
        logits, boxes = self.transformer(self.backbone(batch.tensors)[-1], sizes)
        if self.training:
            assert targets is not None
            labels = [to_labels(target, size) for target, size in zip(targets, sizes, strict=True)]
            return losses(logits, boxes, labels, focal=self.transformer.focal)
        rows = zip(logits[-1], boxes[-1], sizes, strict=True)
        found = [detections(scores, own, size, focal=self.transformer.focal) for scores, own, size in rows]
        return self.transform.postprocess(found, sizes, given)


def to_labels(target: dict[str, Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
    """torchvision's target -> the library's: classes from 0, and shares of the image's (height, width)."""
    boxes = box_convert(full(target["boxes"]), "xyxy", "cxcywh")
    return {"class_labels": target["labels"] - 1, "boxes": boxes / boxes.new_tensor([size[1], size[0]] * 2)}


def losses(logits: Tensor, boxes: Tensor, labels: list[dict[str, Tensor]], *, focal: bool) -> dict[str, Tensor]:
    """The library's losses of all layers, multiplied by their weights: `loss_ce`, `loss_bbox` and `loss_giou` of the
    last one; a number follows in the names of the others."""
    if not boxes.isfinite().all():  # nothing can be matched
        return {"loss_bbox": boxes.sum() + logits.sum()}
    from transformers.loss.loss_utils import LOSS_MAPPING

    costs = {**COSTS, "class_cost": 2 if focal else COSTS["class_cost"]}
    classes = logits.shape[-1] - (0 if focal else 1)
    more = {"num_labels": classes, "decoder_layers": len(logits), "eos_coefficient": 0.1, "focal_alpha": 0.25}
    weights = {"bbox_loss_coefficient": costs["bbox_cost"], "giou_loss_coefficient": costs["giou_cost"]}
    config = SimpleNamespace(auxiliary_loss=True, **costs, **weights, **more)
    of: Any = LOSS_MAPPING["DeformableDetrForObjectDetection" if focal else "ForObjectDetection"]
    _, found, _ = of(logits[-1], labels, logits.device, boxes[-1], config, logits, boxes)
    weigh = {"ce": costs["class_cost"], "bbox": costs["bbox_cost"], "giou": costs["giou_cost"]}
    return {name: loss * weigh[name.split("_")[1]] for name, loss in found.items() if name.startswith("loss_")}


def detections(logits: Tensor, boxes: Tensor, size: tuple[int, int], *, focal: bool) -> dict[str, Tensor]:
    """The best MOST of one image, of logits (queries, classes) and boxes (queries, 4), in pixels of `size`.

    With the focal loss a query may be found as several classes.
    """
    if focal:
        scores, order = logits.sigmoid().flatten().topk(min(MOST, logits.numel()))
        queries, labels = order // logits.shape[-1], order % logits.shape[-1]
    else:
        best, classes = logits.softmax(-1)[:, :-1].max(-1)
        scores, queries = best.topk(min(MOST, len(best)))
        labels = classes[queries]
    pixels = box_convert(boxes[queries], "cxcywh", "xyxy") * boxes.new_tensor([size[1], size[0]] * 2)
    return {"boxes": clip_boxes_to_image(pixels, size), "scores": scores, "labels": labels + 1}


def register(
    name: str, title: str, citation: str, transformer: Callable[[int, Any], SetTransformer], config: type[SetConfig]
) -> None:
    """Register the kind of detector that `transformer` makes of the map's channels and the options."""

    def build(create: CreateBackbone, options: SetConfig) -> nn.Module:
        body = attach(create, options.trunk, first=3)
        return SetDetector(body, transformer(body.channels[-1], options), options)

    packages = ("torchvision", "transformers")
    entry = DetectorEntry(name=name, title=title, citation=citation, build=build, config=config, packages=packages)
    DETECTORS.register(name, entry)
