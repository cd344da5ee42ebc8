"""Regions: anchors, proposals, box codes and the cutting of regions, as torchvision has them and as MMDetection does.

`heads=mmdet` differs from torchvision in these points (MMDetection 2's Faster and Mask R-CNN configurations):

- regions are cut with half a pixel's shift and as many samples as a bin has pixels (torchvision: no shift, 2 x 2);
- L1 losses of boxes (smooth L1 with beta 1/9), smooth L1 with beta 1 in a cascade's stages;
- 1,000 proposals of an image in training (2,000);
- anchors with fractions (rounded to pixels);
- a box may shrink by at most 1000/16 in one step too, as it may grow (no limit);
- a pyramid initialised by Xavier (He, uniform), box heads by Xavier, class scores by a normal distribution of 0.01,
  boxes by one of 0.001 (torch's default of linear layers).

Not covered: OpenCV's resizing (torchvision's is bilinear without antialiasing), ground truth of masks from polygons,
low quality matches of regions (without effect at its threshold), and the random numbers of its sampler.

In both forms anchors, scores and boxes are in float32 whatever the maps' type: bfloat16 cannot tell neighbouring pixels
apart beyond 256.
"""

from __future__ import annotations

from typing import Any, Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign, roi_align
from torchvision.ops.poolers import LevelMapper

from stmbench.kernels import roi_align as kernels
from stmbench.kernels import setting

POOLED: Final = ("0", "1", "2", "3")  # the maps that regions are cut from
FINEST: Final = 2  # log2 of the first one's stride
CANONICAL: Final = 7  # a region of 7 of the smallest anchors a side is cut from the third map: 224 pixels by default
RATIOS: Final = (0.5, 1.0, 2.0)  # height over width of anchors


class RegionAlign(MultiScaleRoIAlign):  # type: ignore[misc]  # torchvision has no types
    """Cuts regions out of the pyramid's maps, each from the map that suits its size (Lin et al. 2017, equation 1).

    torchvision's guesses the maps' strides from the first images it sees; here they are 4, 8, 16 and 32.
    """

    def __init__(self, side: int, *, anchor_size: int, exact: bool) -> None:
        """`exact`: as MMDetection cuts, see the module's docstring."""
        super().__init__(list(POOLED), side, 0 if exact else 2, canonical_scale=CANONICAL * anchor_size)
        self.exact = exact
        coarsest = FINEST + len(POOLED) - 1
        self.level_of = LevelMapper(FINEST, coarsest, canonical_scale=self.canonical_scale)

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """Maps (B, C, H, W) by name and boxes (n, 4) of each image -> (sum of n, C, side, side)."""
        maps = [x[name] for name in POOLED]
        numbers = [torch.full_like(b[:, :1], index) for index, b in enumerate(boxes)]
        regions = torch.cat([torch.cat(pair, 1) for pair in zip(numbers, boxes, strict=True)])  # image, x1, y1, x2, y2
        levels, scales = self.level_of(boxes), [0.5 ** (FINEST + level) for level in range(len(POOLED))]
        if setting.can_run(*maps, regions):
            wide = [full(each) for each in maps]
            given = (regions.to(wide[0].dtype), levels, scales, *self.output_size, self.sampling_ratio, self.exact)
            return cast(Tensor, kernels.roi_align(wide, *given)).to(maps[0].dtype)
        cut = maps[0].new_zeros(len(regions), maps[0].shape[1], *self.output_size)
        for level, one in enumerate(maps):
            chosen = torch.where(levels == level)[0]
            given = (self.output_size, scales[level], self.sampling_ratio, self.exact)
            part = roi_align(full(one), regions[chosen], *given)
            cut = cut.index_put((chosen,), part.to(cut.dtype))
        return cut


def mask_targets(masks: list[Tensor], boxes: list[Tensor], objects: list[Tensor], side: int) -> Tensor:
    """What a mask head should predict: each box cut out of its object's mask, by torchvision's rule.

    Args:
        masks: (objects, H, W) of each image.
        boxes: (n, 4) of each image, x1, y1, x2, y2 in pixels.
        objects: (n,) of each image, whose mask each box is for.
        side: of what is predicted.

    Returns:
        (sum of n, side, side), shares of pixels, in the boxes' dtype.
    """
    pairs = zip(objects, boxes, strict=True)
    regions = [torch.cat([of[:, None].to(box), box], 1) for of, box in pairs]  # object, x1, y1, x2, y2
    wide = [mask[:, None].to(box) for mask, box in zip(masks, boxes, strict=True)]
    if setting.can_run(*wide, *regions):
        images = torch.cat([torch.full_like(of, index) for index, of in enumerate(objects)])
        scales = [1.0] * len(wide)
        return cast(Tensor, kernels.roi_align(wide, torch.cat(regions), images, scales, side, side, 0, False))[:, 0]
    return torch.cat([roi_align(mask, each, side)[:, 0] for mask, each in zip(wide, regions, strict=True)])


class Anchors(AnchorGenerator):  # type: ignore[misc]
    """Anchors in float32."""

    def set_cell_anchors(self, dtype: torch.dtype, device: torch.device) -> None:
        """Move the anchors to a device; `dtype` is the maps'."""
        super().set_cell_anchors(torch.promote_types(dtype, torch.float32), device)


class FractionalAnchors(Anchors):
    """Anchors that are not rounded to pixels."""

    def generate_anchors(
        self, scales: Any, aspect_ratios: Any, dtype: Any = torch.float32, device: Any = "cpu"
    ) -> Tensor:
        """(anchors, 4) around the origin, ratio by ratio."""
        sizes = torch.as_tensor(scales, dtype=dtype, device=device)
        stretch = torch.as_tensor(aspect_ratios, dtype=dtype, device=device).sqrt()[:, None]
        width, height = (sizes / stretch).flatten(), (sizes * stretch).flatten()
        return torch.stack((-width, -height, width, height), 1) / 2


class Coder(BoxCoder):  # type: ignore[misc]
    """A coder of boxes in float32; with `both_sides` its limit on growing in one step holds for shrinking too."""

    both_sides = False

    def decode_single(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """Codes (n, 4 k) relative to boxes (n, 4) -> boxes (n, 4 k)."""
        codes = full(rel_codes)
        if self.both_sides:
            limits = (-float("inf"), -float("inf"), *(-self.bbox_xform_clip * weight for weight in self.weights[2:]))
            codes = torch.maximum(codes, codes.new_tensor(limits).repeat(codes.shape[1] // 4))
        return cast(Tensor, super().decode_single(codes, boxes))


class ProposalHead(RPNHead):  # type: ignore[misc]
    """Objectness and box codes of each level in float32."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps of the levels -> (objectness, codes) of the levels."""
        scores, codes = super().forward(x)
        return [full(score) for score in scores], [full(code) for code in codes]


class Proposals(RegionProposalNetwork):  # type: ignore[misc]
    """A region proposal network whose boxes have an L1 loss."""

    def compute_loss(
        self, objectness: Tensor, pred_bbox_deltas: Tensor, labels: list[Tensor], regression_targets: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """(objectness, boxes), both per sampled anchor."""
        positive, negative = (torch.where(torch.cat(masks))[0] for masks in self.fg_bg_sampler(labels))
        sampled, wanted = torch.cat((positive, negative)), torch.cat(regression_targets)
        boxes = F.l1_loss(pred_bbox_deltas[positive], wanted[positive], reduction="sum") / sampled.numel()
        return F.binary_cross_entropy_with_logits(objectness.flatten()[sampled], torch.cat(labels)[sampled]), boxes


def full(x: Tensor) -> Tensor:
    """In float32, or the wider type that it has."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def anchors(sizes: tuple[tuple[float, ...], ...], *, mmdet: bool) -> AnchorGenerator:
    """Anchors of these sizes in pixels on each level, each at three ratios."""
    rounded = sizes if mmdet else tuple(tuple(int(size) for size in level) for level in sizes)
    return (FractionalAnchors if mmdet else Anchors)(rounded, (RATIOS,) * len(sizes))


def box_coder(weights: tuple[float, float, float, float], *, mmdet: bool) -> BoxCoder:
    """A coder of boxes relative to others, whose four numbers are multiplied by `weights`."""
    coder = Coder(weights)
    coder.both_sides = mmdet
    return coder


def proposal_network(width: int, anchor_size: int, proposals: int, *, mmdet: bool) -> nn.Module:
    """A region proposal network on five levels: those that are pooled and a coarser one."""
    generator = anchors(tuple((anchor_size * 2**level,) for level in range(len(POOLED) + 1)), mmdet=mmdet)
    before = {"training": 2 * proposals, "testing": proposals}
    after = {"training": proposals if mmdet else 2 * proposals, "testing": proposals}
    head = ProposalHead(width, generator.num_anchors_per_location()[0])
    network = (Proposals if mmdet else RegionProposalNetwork)(generator, head, 0.7, 0.3, 256, 0.5, before, after, 0.7)
    network.box_coder = box_coder((1.0, 1.0, 1.0, 1.0), mmdet=mmdet)
    return network
