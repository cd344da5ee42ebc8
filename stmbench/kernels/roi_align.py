"""RoIAlign on one or several maps, as an operator of PyTorch with a backward pass: see `stmbench.kernels.sums`.

He et al., "Mask R-CNN", ICCV 2017, by torchvision's rules, to rounding: samples up to a pixel outside of a map count at
its border, those farther away as zero; the regions have no gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stmbench.kernels.library import call, require_shapes
from stmbench.kernels.operators import describe, operator


@operator("roi_align", device="cpu")
def roi_align(
    maps: list[Tensor],
    regions: Tensor,
    levels: Tensor,
    scales: list[float],
    height: int,
    width: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Each region cut from one of the maps.

    Args:
        maps: (B, C, H, W), of any B, H and W, float32 or float64; channels_last ones are not copied.
        regions: (n, 5), number of the image, x1, y1, x2, y2 in pixels; of the maps' dtype.
        levels: (n,), int64, which map each region is cut from.
        scales: of each map: its cells by pixel.
        height: bins of a cut.
        width: the same.
        sampling_ratio: samples of a bin in either direction; 0: as many as it has cells, rounded up.
        aligned: whether half a cell is subtracted from coordinates, and regions below a cell stay as small as they are.

    Returns:
        (n, C, height, width), channels_last.
    """
    require_shapes((regions, (len(regions), 5)), (levels, (len(regions),)))
    require_shapes(*((each, (len(each), maps[0].shape[1], *each.shape[2:])) for each in maps))
    laid = [_channels_inside(each) for each in maps]
    cut = _cuts(maps, regions, height, width)
    numbers = _numbers(laid, height, width, sampling_ratio, aligned, len(regions))
    call("roi_align", (regions.contiguous(), laid, levels.contiguous(), _scales(regions, scales), cut), numbers)
    return cut.permute(0, 3, 1, 2)


@operator("roi_align_backward", device="cpu")
def roi_align_backward(
    gradient: Tensor,
    maps: list[Tensor],
    regions: Tensor,
    levels: Tensor,
    scales: list[float],
    sampling_ratio: int,
    aligned: bool,
) -> list[Tensor]:
    """The gradients of the maps, of which the shapes count; channels_last."""
    found = [_channels_inside(torch.empty_like(each, memory_format=torch.channels_last)).zero_() for each in maps]
    height, width = gradient.shape[2:]
    numbers = _numbers(found, height, width, sampling_ratio, aligned, len(regions))
    given = (_channels_inside(gradient), regions.contiguous(), levels.contiguous(), _scales(regions, scales))
    call("roi_align_backward", (*given, found), numbers)
    return [each.permute(0, 3, 1, 2) for each in found]


def _channels_inside(tensor: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H, W, C), contiguous."""
    return tensor.permute(0, 2, 3, 1).contiguous()


def _scales(regions: Tensor, scales: list[float]) -> Tensor:
    return regions.new_tensor(scales)


def _cuts(maps: list[Tensor], regions: Tensor, height: int, width: int) -> Tensor:
    return maps[0].new_empty((len(regions), height, width, maps[0].shape[1]))


def _numbers(
    laid: list[Tensor], height: int, width: int, sampling_ratio: int, aligned: bool, regions: int
) -> tuple[int, ...]:
    images, channels = max(each.shape[0] for each in laid), laid[0].shape[3]
    sides = (side for each in laid for side in each.shape[1:3])
    return regions, channels, height, width, sampling_ratio, int(aligned), len(laid), images, *sides


def _register() -> None:
    """What compiled graphs and autograd need to know."""

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        maps, regions, levels, ctx.scales, _, _, ctx.sampling_ratio, ctx.aligned = inputs
        ctx.save_for_backward(regions, levels, *maps)

    def gradients(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        regions, levels, *maps = ctx.saved_tensors
        found = roi_align_backward(gradient, maps, regions, levels, ctx.scales, ctx.sampling_ratio, ctx.aligned)
        return (found, None, None, None, None, None, None, None)

    def shapes(maps: list[Tensor], regions: Tensor, _: Tensor, __: list[float], *size: Any) -> Tensor:
        return _cuts(maps, regions, *size[:2]).permute(0, 3, 1, 2)

    describe(roi_align, shapes=shapes, gradient=gradients, keep=keep)
    describe(
        roi_align_backward,
        shapes=lambda gradient, maps, *_: [torch.empty_like(each, memory_format=torch.channels_last) for each in maps],
    )


_register()
