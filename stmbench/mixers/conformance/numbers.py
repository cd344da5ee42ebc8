"""Checks of the numbers: low precision, the slow reference, the MAC formula, copies."""

from __future__ import annotations

import copy
import pickle

import torch

from stmbench.mixers.base import Mixer
from stmbench.mixers.conformance.check import SCALE, BrokenPromiseError, MixerUnderTest, NotApplicableError, check

CLOSE = 1e-10  # of the largest output, in float64
SIZES = ((14, 14), (14, 9), (9, 14), (9, 11))  # windows of 7 divide both sides, one of them, none
PLACES = ((0, 0), (2, 0), (2, 1), (3, 0))  # stage, block


@check(
    "bfloat16 weights and inputs give finite numbers",
    remedy="compute softmaxes, norms and small differences in float32, and keep epsilons above 1e-2 of what they join",
)
def bfloat16(mixer: MixerUnderTest) -> None:
    module = mixer.module(dtype=torch.bfloat16)
    images = mixer.images(dtype=torch.bfloat16)
    for name, values in (("normal noise", images), ("ten times normal noise", 10 * images), ("zeros", 0 * images)):
        with torch.no_grad():
            found = module(values)
        if found.dtype != torch.bfloat16:
            raise BrokenPromiseError(f"bfloat16 became {found.dtype}")
        if not bool(torch.isfinite(found).all()):
            raise BrokenPromiseError(
                f"{int((~torch.isfinite(found)).sum())} of {found.numel()} are NaN or inf on {name}"
            )


@check(
    "autocast and inference mode work",
    remedy="let the operations choose their dtype under autocast; bring both sides of an in-place operation to one",
    needs=("shape", "bfloat16"),
)
def autocast(mixer: MixerUnderTest) -> None:
    module, images = mixer.module(dtype=torch.float32), mixer.images(dtype=torch.float32)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = module(images)
    if found.shape != images.shape:
        raise BrokenPromiseError(f"{tuple(images.shape)} became {tuple(found.shape)}")
    if not bool(torch.isfinite(found).all()):
        raise BrokenPromiseError(f"{int((~torch.isfinite(found)).sum())} of {found.numel()} are NaN or inf")


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
        for size in SIZES:
            images = mixer.images(1, size, stage)
            with torch.no_grad():
                expected, found = slow(images), module(images)
            paths = {"": found, " with gradients": module(images).detach()}  # possibly another kernel
            for kind, result in paths.items():
                difference = float((result - expected).abs().max())
                if not difference <= CLOSE * float(expected.abs().max()):
                    where = f"{size[0]}x{size[1]}, stage {stage}{kind}"
                    raise BrokenPromiseError(f"they differ by up to {difference:.3g} at {where}")


@check(
    "every operation can be counted, and the MAC formula, where there is one, agrees with the counter",
    remedy="count multiply-adds of convolutions, linear layers, matrix products and sampling, and nothing else",
    needs=("any_size",),
)
def macs(mixer: MixerUnderTest) -> None:
    if mixer.count is None:
        raise NotApplicableError("no counter was given")
    for stage, block in ((0, 0), (2, 1), (3, 0)):
        module = mixer.module(stage, block, dtype=torch.float32)
        formula = getattr(module, "macs", None)
        for height, width in SIZES:
            counted = mixer.count(module, (height, width, mixer.position(stage).dim))
            if formula is None or getattr(type(module), "macs", None) is Mixer.macs:
                continue
            formula_macs = formula(height, width)
            if formula_macs != counted:
                where = f"{height}x{width}, stage {stage}"
                raise BrokenPromiseError(f"the formula gives {formula_macs}, the counter {counted} at {where}")


@check(
    "a deep copy, a pickled copy and a state dict give the same mixer",
    remedy="keep all state in parameters and buffers, and build everything from the config",
    needs=("dtype", "input_untouched"),
)
def copies(mixer: MixerUnderTest) -> None:
    module, images = mixer.module(), mixer.images(1)
    fresh = mixer.entry.build(mixer.position(), **mixer.entry.preset(SCALE).options).to(torch.float64).eval()
    fresh.load_state_dict(module.state_dict())
    others = {
        "deep copy": copy.deepcopy(module),
        "pickled copy": pickle.loads(pickle.dumps(module)),
        "state dict": fresh,
    }
    with torch.no_grad():
        torch.manual_seed(2)
        expected = module(images)
        for name, other in others.items():
            torch.manual_seed(2)  # randomness in eval mode is another check's subject
            if not torch.allclose(other(images), expected, rtol=1e-10, atol=1e-12):
                raise BrokenPromiseError(f"the {name} computes something else")
