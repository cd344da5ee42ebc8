"""Checks of the forward pass: sizes, types, layout, what the result may depend on, and the numbers themselves."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import torch
from torch import Tensor, nn

from stmbench.copies import copied
from stmbench.mixers.base import Mixer
from stmbench.mixers.conformance.check import (
    DESIGN_MAPS,
    SMALLEST_MAPS,
    BrokenPromiseError,
    MixerUnderTest,
    NotApplicableError,
    check,
)

CLOSE = 1e-9  # of the largest output, in float64


@check(
    "the input (B, H, W, C) comes back with the same shape at the design size",
    remedy="return (B, H, W, C), channels last; pad inside the mixer and crop again",
    needs=(),
)
def shape(mixer: MixerUnderTest) -> None:
    for stage, side in enumerate(DESIGN_MAPS):
        images = mixer.images(1, (side, side), stage, dtype=mixer.usual)
        with torch.no_grad():
            output = mixer.module(stage, dtype=mixer.usual)(images)
        if output.shape != images.shape:
            raise BrokenPromiseError(f"{tuple(images.shape)} became {tuple(output.shape)} in stage {stage}")


@check(
    "any H and W: not square, odd, the smallest map, larger than the design size",
    remedy="pad to what the mixer needs, mix, crop; take H and W from the input, not from config.resolution; "
    "any_size=False where it is made for one size of maps",
)
def any_size(mixer: MixerUnderTest) -> None:
    if not mixer.entry.any_size:
        raise NotApplicableError("any_size=False: it takes maps of its position's size alone")
    for stage, (smallest, design) in enumerate(zip(SMALLEST_MAPS, DESIGN_MAPS, strict=True)):
        module = mixer.module(stage, dtype=mixer.usual)
        sizes = (
            (smallest, smallest),
            (smallest, 2 * smallest + 1),
            (2 * smallest + 1, smallest),
            (11, 9),
            (design + 2, design + 5),
        )
        for size in sizes:
            images = mixer.images(1, size, stage, dtype=mixer.usual)
            with torch.no_grad():
                output = module(images)
            if output.shape != images.shape:
                raise BrokenPromiseError(f"{tuple(images.shape)} became {tuple(output.shape)} in stage {stage}")


@check(
    "the dtype of the input is kept, float32 and float64",
    remedy="make new tensors with dtype=x.dtype; register constants as buffers; "
    'declare dtypes=("float32",) where it computes in no other',
)
def dtype(mixer: MixerUnderTest) -> None:
    for kind in mixer.dtypes:
        if kind not in (torch.float32, torch.float64) and len(mixer.dtypes) > 1:
            continue  # low precision has a check of its own
        with torch.no_grad():
            output = mixer.module(dtype=kind)(mixer.images(dtype=kind))
        if output.dtype != kind:
            raise BrokenPromiseError(f"{kind} became {output.dtype}")


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
        output = module(images)
        if not output.is_contiguous():
            raise BrokenPromiseError(f"strides {output.stride()} for shape {tuple(output.shape)}")
        torch.manual_seed(2)
        _same(mixer, module(strided), output, "an input with other strides gives another result")


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
            _same(mixer, alone, together[index : index + 1], f"image {index} alone and in a batch of 4 differ")
        _same(mixer, module(others)[:1], together[:1], "other neighbours change image 0's result")


def _same(mixer: MixerUnderTest, actual: Tensor, expected: Tensor, complaint: str) -> None:
    difference = float((actual - expected).abs().max())
    if not difference <= mixer.close(CLOSE) * float(expected.abs().max()):
        raise BrokenPromiseError(f"{complaint} by up to {difference:.3g}")


REFERENCE_CLOSE = 1e-10  # of the largest output, in float64
SIZES = ((14, 14), (14, 9), (9, 14), (9, 11))  # windows of 7 divide both sides, one of them, none
PLACES = ((0, 0), (2, 0), (2, 1), (3, 0))  # stage, block


@check(
    "bfloat16 weights and inputs give finite numbers",
    remedy="compute softmaxes, norms and small differences in float32, and keep epsilons above 1e-2 of what they join",
)
def bfloat16(mixer: MixerUnderTest) -> None:
    mixer.require(torch.bfloat16)
    module = mixer.module(dtype=torch.bfloat16)
    images = mixer.images(dtype=torch.bfloat16)
    for name, values in (("normal noise", images), ("ten times normal noise", 10 * images), ("zeros", 0 * images)):
        with torch.no_grad():
            output = module(values)
        if output.dtype != torch.bfloat16:
            raise BrokenPromiseError(f"bfloat16 became {output.dtype}")
        if not bool(torch.isfinite(output).all()):
            raise BrokenPromiseError(
                f"{int((~torch.isfinite(output)).sum())} of {output.numel()} are NaN or inf on {name}"
            )


@check(
    "autocast and inference mode work",
    remedy="let the operations choose their dtype under autocast; bring both sides of an in-place operation to one",
    needs=("shape", "bfloat16"),
)
def autocast(mixer: MixerUnderTest) -> None:
    mixer.require(torch.bfloat16)
    mixer.require(torch.float32)
    module, images = mixer.module(dtype=mixer.usual), mixer.images(dtype=mixer.usual)
    with torch.inference_mode(), torch.autocast(mixer.device.type, dtype=torch.bfloat16):
        output = module(images)
    if output.shape != images.shape:
        raise BrokenPromiseError(f"{tuple(images.shape)} became {tuple(output.shape)}")
    if not bool(torch.isfinite(output).all()):
        raise BrokenPromiseError(f"{int((~torch.isfinite(output)).sum())} of {output.numel()} are NaN or inf")


@check(
    "the slow reference and the fast path agree in float64, with gradients and without",
    remedy="the reference defines the mixer: fix whichever of the two is wrong",
    needs=("any_size", "dtype", "input_untouched", "deterministic"),
)
def reference(mixer: MixerUnderTest) -> None:
    for stage, block in PLACES:
        module = mixer.module(stage, block)
        slow = getattr(module, "reference", None)
        if slow is None or getattr(type(module), "reference", None) is Mixer.reference:
            raise NotApplicableError("the mixer has no reference")
        sizes = mixer.sizes(SIZES, stage)
        for size in sizes:
            images = mixer.images(1, size, stage)
            with torch.no_grad():
                expected, output = slow(images), module(images)
            paths = {"": output, " with gradients": module(images).detach()}  # possibly another kernel
            if size == sizes[-1]:  # writing in place can fail with gradients, on any map alike
                paths[" of the reference with gradients"] = slow(images).detach()
            for kind, result in paths.items():
                difference = float((result - expected).abs().max())
                if not difference <= mixer.close(REFERENCE_CLOSE) * float(expected.abs().max()):
                    where = f"{size[0]}x{size[1]}, stage {stage}{kind}"
                    raise BrokenPromiseError(f"they differ by up to {difference:.3g} at {where}")


@check(
    "every operation can be counted, and the MAC formula, where there is one, agrees with the counter",
    remedy="count multiply-adds of convolutions, linear layers, matrix products and sampling, and nothing else",
    needs=("shape", "any_size"),
)
def macs(mixer: MixerUnderTest) -> None:
    if mixer.count is None:
        raise NotApplicableError("no counter was given")
    for stage, block in ((0, 0), (2, 1), (3, 0)):
        module = mixer.module(stage, block, dtype=mixer.usual)
        formula = getattr(module, "macs", None)
        for height, width in mixer.sizes(SIZES, stage):
            counted = mixer.count(module, (height, width, mixer.position(stage).dim))
            if formula is None or getattr(type(module), "macs", None) is Mixer.macs:
                continue
            formula_macs = formula(height, width)
            if formula_macs != counted:
                where = f"{height}x{width}, stage {stage}"
                raise BrokenPromiseError(f"the formula gives {formula_macs}, the counter {counted} at {where}")


@check(
    "a deep copy, a pickled copy and a state dict give the same mixer, also after a forward pass",
    remedy="keep all state in parameters and buffers, build everything from the config, and cache nothing that is "
    "computed from weights",
    needs=("dtype", "input_untouched"),
)
def copies(mixer: MixerUnderTest) -> None:
    module, used, images = mixer.module(), mixer.fresh(), mixer.images(1)
    module(images)  # with gradients: what it keeps of this has a graph
    with torch.no_grad():
        used(images)
    ways: dict[str, Callable[[], nn.Module]] = {
        "deep copy": lambda: copied(module),
        "pickled copy": lambda: pickle.loads(pickle.dumps(module)),
        "state dict": lambda: _loaded(mixer.fresh(), module),
        "state dict in a mixer that ran before": lambda: _loaded(used, module),
    }
    with torch.no_grad():
        torch.manual_seed(2)
        expected = module(images)
        for name, way in ways.items():
            try:
                other = way()
            except Exception as error:
                text = " ".join(str(error).split())
                raise BrokenPromiseError(f"the {name} fails: {type(error).__name__}: {text}") from error
            torch.manual_seed(2)  # randomness in eval mode is another check's subject
            if not torch.allclose(other(images), expected, rtol=mixer.close(1e-10), atol=mixer.close(1e-12)):
                raise BrokenPromiseError(f"the {name} computes something else")


def _loaded(module: nn.Module, source: nn.Module) -> nn.Module:
    module.load_state_dict(source.state_dict())
    return module
