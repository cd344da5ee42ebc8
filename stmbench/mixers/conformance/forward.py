"""Checks of the forward pass: sizes, types, layout, and what the result may depend on."""

from __future__ import annotations

import torch
from torch import Tensor

from stmbench.mixers.conformance.check import DESIGN_MAPS, SMALLEST_MAPS, BrokenPromiseError, MixerUnderTest, check

CLOSE = 1e-9  # of the largest output, in float64


@check(
    "the input (B, H, W, C) comes back with the same shape at the design size",
    remedy="return (B, H, W, C), channels last; pad inside the mixer and crop again",
    needs=(),
)
def shape(mixer: MixerUnderTest) -> None:
    for stage, side in enumerate(DESIGN_MAPS):
        images = mixer.images(1, (side, side), stage, dtype=torch.float32)
        with torch.no_grad():
            found = mixer.module(stage, dtype=torch.float32)(images)
        if found.shape != images.shape:
            raise BrokenPromiseError(f"{tuple(images.shape)} became {tuple(found.shape)} in stage {stage}")


@check(
    "any H and W: not square, odd, the smallest map, larger than the design size",
    remedy="pad to what the mixer needs, mix, crop; take H and W from the input, not from config.resolution",
)
def any_size(mixer: MixerUnderTest) -> None:
    for stage, (smallest, design) in enumerate(zip(SMALLEST_MAPS, DESIGN_MAPS, strict=True)):
        module = mixer.module(stage, dtype=torch.float32)
        sizes = (
            (smallest, smallest),
            (smallest, 2 * smallest + 1),
            (2 * smallest + 1, smallest),
            (11, 9),
            (design + 2, design + 5),
        )
        for size in sizes:
            images = mixer.images(1, size, stage, dtype=torch.float32)
            with torch.no_grad():
                found = module(images)
            if found.shape != images.shape:
                raise BrokenPromiseError(f"{tuple(images.shape)} became {tuple(found.shape)} in stage {stage}")


@check(
    "the dtype of the input is kept, float32 and float64",
    remedy="make new tensors with dtype=x.dtype; register constants as buffers",
)
def dtype(mixer: MixerUnderTest) -> None:
    for kind in (torch.float32, torch.float64):
        with torch.no_grad():
            found = mixer.module(dtype=kind)(mixer.images(dtype=kind))
        if found.dtype != kind:
            raise BrokenPromiseError(f"{kind} became {found.dtype}")


@check(
    "the output is contiguous channels last, whatever the strides of the input",
    remedy="end with a contiguous (B, H, W, C) tensor; permute(0, 2, 3, 1) of a channels_last convolution is one",
    needs=("shape", "dtype"),
)
def layout(mixer: MixerUnderTest) -> None:
    module, images = mixer.module(), mixer.images()
    strided = images.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)  # the same numbers, channels first in memory
    torch.manual_seed(2)
    with torch.no_grad():
        found = module(images)
        if not found.is_contiguous():
            raise BrokenPromiseError(f"strides {found.stride()} for shape {tuple(found.shape)}")
        torch.manual_seed(2)
        _same(module(strided), found, "an input with other strides gives another result")


@check(
    "the input is not changed",
    remedy="leave out in-place operations (relu_, +=) on the input or a view of it",
    needs=("shape", "dtype"),
)
def input_untouched(mixer: MixerUnderTest) -> None:
    module, images = mixer.module(), mixer.images()
    before = images.clone()
    with torch.no_grad():
        module(images)
    if not torch.equal(images, before):
        raise BrokenPromiseError(
            f"{int((images != before).sum())} of {images.numel()} numbers of the input were changed"
        )


@check(
    "the same input gives the same result in eval mode",
    remedy="switch randomness off when self.training is False (nn.Dropout does)",
    needs=("shape", "dtype"),
)
def deterministic(mixer: MixerUnderTest) -> None:
    module, images = mixer.module(), mixer.images()
    with torch.no_grad():
        first = module(images.clone())
        second = module(images.clone())
    if not torch.equal(first, second):
        raise BrokenPromiseError(f"two runs differ by up to {float((first - second).abs().max()):.3g}")


@check(
    "an image's result does not depend on the other images of its batch",
    remedy="take means, maxima and softmaxes over H, W or C, never over B",
    needs=("shape", "deterministic"),
)
def batch_independent(mixer: MixerUnderTest) -> None:
    module, images = mixer.module(), mixer.images(4)
    others = torch.cat([images[:1], 10 * mixer.images(3, seed=5)])
    with torch.no_grad():
        together = module(images.clone())
        for index in range(4):
            alone = module(images[index : index + 1].clone())
            _same(alone, together[index : index + 1], f"image {index} alone and in a batch of 4 differ")
        _same(module(others)[:1], together[:1], "other neighbours change image 0's result")


def _same(found: Tensor, expected: Tensor, complaint: str) -> None:
    difference = float((found - expected).abs().max())
    if not difference <= CLOSE * float(expected.abs().max()):
        raise BrokenPromiseError(f"{complaint} by up to {difference:.3g}")
