"""The heads of a region-based detector in one or more stages, each refining the boxes of the one before.

Cai and Vasconcelos, "Cascade R-CNN", CVPR 2018 and TPAMI 2019. In training, each stage draws its own sample of the
boxes it is given and of the ground truth, by its own threshold of overlap, and its losses are weighted; boxes that were
ground truth are not passed on. In eval mode the scores of the stages are averaged: probabilities, or with `heads=mmdet`
logits. Each stage has a mask head of its own, trained on the stage's positive boxes; in eval mode all of them see the
last boxes and their probabilities are averaged, as in the paper (strategy c) and in MMDetection.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, maskrcnn_inference
from torchvision.ops import clip_boxes_to_image

from stmbench.architectures.detectors.pyramid import MakeNorm, norms_with_relu
from stmbench.architectures.detectors.regions import RegionAlign, box_coder, full, mask_targets


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageOptions:
    """One stage: the overlap from which on a box is positive, the coder's weights, the weight of its losses."""

    overlap: float = 0.5
    weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    loss: float = 1.0


ONE = (StageOptions(),)
CASCADE = (
    StageOptions(),
    StageOptions(overlap=0.6, weights=(20.0, 20.0, 10.0, 10.0), loss=0.5),
    StageOptions(overlap=0.7, weights=(30.0, 30.0, 15.0, 15.0), loss=0.25),
)


class StagedHeads(RoIHeads):  # type: ignore[misc]  # torchvision has no types
    """Maps and proposals -> detections, or losses in training. One box for all classes if there are several stages.

    Args:
        stages: their options.
        width: channels of the maps; a quarter of the box heads' hidden layers.
        classes: without the background.
        anchor_size: of the smallest anchors, which sets the map that a region is cut from.
        samples: regions of an image that a stage's losses are of.
        positives: the largest share of them that are positive.
        masks: whether masks are predicted.
        mmdet: whether losses, coding, cutting and averaging are MMDetection's.
        norm: channels -> what follows each convolution of the heads; None for nothing.
        box_convs: of a box head, before one fully connected layer; 0: two such layers.
    """

    def __init__(
        self,
        stages: Sequence[StageOptions],
        width: int,
        classes: int,
        *,
        anchor_size: int,
        samples: int,
        positives: float,
        masks: bool,
        mmdet: bool,
        norm: MakeNorm | None = None,
        box_convs: int = 0,
    ) -> None:
        pool = RegionAlign(7, anchor_size=anchor_size, exact=mmdet)
        super().__init__(pool, None, None, 0.5, 0.5, samples, positives, None, 0.05, 0.5, 100)
        self.stages, self.mmdet = tuple(stages), mmdet
        outputs = classes + 1  # 0 is background
        self.box_heads = nn.ModuleList(
            FastRCNNConvFCHead((width, 7, 7), [width] * box_convs, [4 * width], norm)
            if box_convs
            else TwoMLPHead(width * 7**2, 4 * width)
            for _ in stages
        )
        self.box_predictors = nn.ModuleList(FastRCNNPredictor(4 * width, outputs) for _ in stages)
        if len(stages) > 1:
            for predictor in self.box_predictors:
                predictor.bbox_pred = nn.Linear(4 * width, 4)
        self.mask_roi_pool = RegionAlign(14, anchor_size=anchor_size, exact=mmdet) if masks else None
        count = len(stages) if masks else 0
        self.mask_heads = nn.ModuleList(
            nn.Sequential(MaskRCNNHeads(width, (width,) * 4, 1, norm), MaskRCNNPredictor(width, width, outputs))
            for _ in range(count)
        )
        norms_with_relu(self.box_heads)
        norms_with_relu(self.mask_heads)
        self._coders = [box_coder(stage.weights, mmdet=mmdet) for stage in stages]
        self._matchers = [Matcher(s.overlap, s.overlap, allow_low_quality_matches=False) for s in stages]

    def has_mask(self) -> bool:
        """Whether masks are predicted."""
        return len(self.mask_heads) > 0

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Any]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Maps by name and proposals (n, 4) of each image -> (detections of each image, losses by name)."""
        if self.training:
            return [], self._losses(features, proposals, image_shapes, targets or [])
        return self._detections(features, proposals, image_shapes), {}

    def _losses(self, maps: dict[str, Tensor], boxes: list[Tensor], shapes: Any, targets: Any) -> dict[str, Tensor]:
        losses = {}
        for index, stage in enumerate(self.stages):
            self.proposal_matcher, self.box_coder = self._matchers[index], self._coders[index]
            boxes, matched, labels, wanted = self.select_training_samples(boxes, targets)
            logits, codes = self._predict(index, maps, boxes, shapes)
            suffix = f"_{index + 1}" if len(self.stages) > 1 else ""
            flat = torch.cat(labels)
            losses[f"loss_classifier{suffix}"] = stage.loss * F.cross_entropy(logits, flat)
            losses[f"loss_box_reg{suffix}"] = stage.loss * self._box_loss(codes, flat, torch.cat(wanted))
            if self.has_mask():
                loss = self._mask_loss(index, maps, boxes, shapes, labels, matched, targets)
                losses[f"loss_mask{suffix}"] = stage.loss * loss
            if index + 1 < len(self.stages):
                refined = self._decoded(codes.detach(), boxes, shapes)
                # what is its own target was ground truth
                found = [(label <= 0) | (w != 0).any(1) for label, w in zip(labels, wanted, strict=True)]
                boxes = [box[keep] for box, keep in zip(refined, found, strict=True)]
        return losses

    def _predict(self, index: int, maps: Any, boxes: list[Tensor], shapes: Any) -> tuple[Tensor, Tensor]:
        """Logits (n, classes) and box codes (n, 4 or 4 * classes) of one stage."""
        cut = self.box_roi_pool(maps, boxes, shapes)
        logits, codes = self.box_predictors[index](self.box_heads[index](cut))
        return full(logits), full(codes)

    def _box_loss(self, codes: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
        """Of the positive boxes, per sampled box."""
        positive = torch.where(labels > 0)[0]
        column = labels[positive] if codes.shape[1] > 4 else torch.zeros_like(positive)
        given = codes.view(len(codes), -1, 4)[positive, column]
        if not self.mmdet:
            loss = F.smooth_l1_loss(given, wanted[positive], beta=1 / 9, reduction="sum")
        elif len(self.stages) > 1:
            loss = F.smooth_l1_loss(given, wanted[positive], beta=1.0, reduction="sum")
        else:
            loss = F.l1_loss(given, wanted[positive], reduction="sum")
        return loss / labels.numel()

    def _mask_loss(
        self, index: int, maps: Any, boxes: list[Tensor], shapes: Any, labels: list[Tensor], matched: list[Tensor],
        targets: Any,
    ) -> Tensor:  # fmt: skip
        positive = [torch.where(label > 0)[0] for label in labels]
        chosen = [box[kept] for box, kept in zip(boxes, positive, strict=True)]
        objects = [of[kept] for of, kept in zip(matched, positive, strict=True)]
        logits = full(self.mask_heads[index](cast(Any, self.mask_roi_pool)(maps, chosen, shapes)))
        if not len(logits):
            return logits.sum() * 0  # part of the graph, as with an object
        classes = torch.cat([target["labels"][of] for target, of in zip(targets, objects, strict=True)])
        wanted = mask_targets([target["masks"] for target in targets], chosen, objects, logits.shape[-1])
        own = logits[torch.arange(len(classes), device=classes.device), classes]
        return F.binary_cross_entropy_with_logits(own, wanted)

    def _decoded(self, codes: Tensor, boxes: list[Tensor], shapes: Any) -> list[Tensor]:
        """The boxes (n, 4) of each image as one box for all classes moves them, inside the image."""
        moved = self.box_coder.decode(codes, boxes).view(-1, 4).split([len(box) for box in boxes])
        return [clip_boxes_to_image(box, shape) for box, shape in zip(moved, shapes, strict=True)]

    def _detections(self, maps: Any, boxes: list[Tensor], shapes: Any) -> list[dict[str, Tensor]]:
        scores: list[Tensor] = []
        codes = torch.empty(0)
        for index in range(len(self.stages)):
            if index:
                boxes = self._decoded(codes, boxes, shapes)
            self.box_coder = self._coders[index]
            logits, codes = self._predict(index, maps, boxes, shapes)
            scores.append(logits if self.mmdet else logits.log_softmax(1))
        stacked = torch.stack(scores)
        mean = stacked.mean(0) if self.mmdet else stacked.logsumexp(0)  # softmax divides by the number of stages
        if codes.shape[1] == 4:
            codes = codes.repeat(1, mean.shape[1])
        found = zip(*self.postprocess_detections(mean, codes, boxes, shapes), strict=True)
        results = [{"boxes": box, "scores": score, "labels": label} for box, score, label in found]
        if self.has_mask():
            cut = cast(Any, self.mask_roi_pool)(maps, [result["boxes"] for result in results], shapes)
            labels = [result["labels"] for result in results]
            of_stages = [maskrcnn_inference(full(head(cut)), labels) for head in self.mask_heads]
            for result, masks in zip(results, zip(*of_stages, strict=True), strict=True):
                result["masks"] = torch.stack(masks).mean(0)
        return results
