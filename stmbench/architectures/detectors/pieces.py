"""A detector in pieces that take one tensor each, so that their costs can be counted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

from torch import Tensor, nn

from stmbench.architectures.detectors.base import PATCH, padded
from stmbench.architectures.detectors.pyramid import Pyramid
from stmbench.architectures.detectors.region_heads import StagedHeads
from stmbench.architectures.detectors.set_prediction import SetDetector


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
    """`module` takes one tensor of `shape` (without the batch), and runs `times` times for one image.

    `parts` maps the parts of the detector that it holds to regular expressions of its modules' paths.
    """

    parts: Mapping[str, str]
    module: nn.Module
    shape: tuple[int, int, int]
    times: int = 1


class Flat(nn.Module):
    """A module with one tensor as input and a tuple of tensors as output; `levels`: it takes a list of maps."""

    def __init__(self, module: nn.Module, *, levels: bool = False) -> None:
        super().__init__()
        self.module, self.levels = module, levels

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The module's outputs."""
        return tuple(_tensors(self.module([x] if self.levels else x)))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    else:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def pieces(detector: nn.Module, height: int, width: int) -> list[Piece]:
    """The pieces of a detector for an image of this size in pixels after resizing; it is padded to a multiple of 32.

    Parts: backbone (its fresh norms included), pyramid, proposals or the heads on each level, the box heads for as many
    regions as there are proposals at most, and the mask heads for as many as there are detections. Cutting regions out
    of maps, which is sampling, and the suppression of boxes are in no piece. A detector that predicts a set has a
    backbone and a transformer, its heads included.
    """
    height, width = padded(height, width)
    if isinstance(detector, SetDetector):
        body = Flat(detector.backbone)
        shape = (detector.backbone.channels[-1], height // PATCH, width // PATCH)
        transformer = Piece(parts={"transformer": ".+"}, module=Flat(detector.transformer), shape=shape)
        return [Piece(parts={"backbone": ".+"}, module=body, shape=(3, height, width)), transformer]
    pyramid = cast(Pyramid, detector.backbone)
    maps = {"backbone": r"module\.body(\..*)?", "pyramid": r"module\.fpn(\..*)?"}
    found = [Piece(parts=maps, module=Flat(pyramid), shape=(3, height, width))]
    rpn: Any = getattr(detector, "rpn", None)
    dense = detector.head if rpn is None else rpn.head
    channels = pyramid.out_channels
    for stride in (4, 8, 16, 32, 64) if rpn is not None else (8, 16, 32, 64, 128):
        shape = (channels, math.ceil(height / stride), math.ceil(width / stride))
        part = {"heads" if rpn is None else "proposals": ".+"}
        found.append(Piece(parts=part, module=Flat(cast(nn.Module, dense), levels=True), shape=shape))
    heads = getattr(detector, "roi_heads", None)
    if isinstance(heads, StagedHeads):
        proposals = cast(Any, detector).config.proposals
        for head, predictor in zip(heads.box_heads, heads.box_predictors, strict=True):
            module = Flat(nn.Sequential(head, predictor))
            found.append(Piece(parts={"boxes": ".+"}, module=module, shape=(channels, 7, 7), times=proposals))
        for head in heads.mask_heads:
            times = heads.detections_per_img
            found.append(Piece(parts={"masks": ".+"}, module=Flat(head), shape=(channels, 14, 14), times=times))
    return found
