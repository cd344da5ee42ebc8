"""Checks of the backward pass: every parameter learns, or the registry says why it cannot."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stmbench.mixers.conformance.check import DESIGN_MAPS, VANISHING, BrokenPromiseError, MixerUnderTest, check

PLACES = ((0, 0, 4), (2, 1, 8), (3, 0, 8))  # stage, block, images
NAMED = 3  # dead elements that are named one by one
TRIALS = 2  # a gradient is zero if it vanishes for all of these weights and inputs


def _largest_gradients(mixer: MixerUnderTest, stage: int, block: int, images: int) -> dict[str, Tensor]:
    """Per parameter, the largest |gradient| of each element over the trials, relative to the mixer's largest."""
    largest: dict[str, Tensor] = {}
    for trial in range(TRIALS):
        module = mixer.module(stage, block, seed=10 + trial).train()
        if not any(parameter.requires_grad for parameter in module.parameters()):
            return {}
        side = DESIGN_MAPS[stage]
        output = module(mixer.images(images, (side, side), stage, seed=20 + trial))
        (output * torch.randn_like(output)).sum().backward()
        named = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
        gradients = {
            name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.abs()
            for name, parameter in named.items()
        }
        for name, gradient in gradients.items():
            if not bool(torch.isfinite(gradient).all()):
                raise BrokenPromiseError(f"the gradient of {name} is not finite in stage {stage}")
        scale = max((float(gradient.max()) for gradient in gradients.values()), default=0.0) or 1.0
        for name, gradient in gradients.items():
            relative = gradient / scale
            largest[name] = torch.maximum(largest[name], relative) if name in largest else relative
    return largest


def elements(dead: Tensor) -> str:
    """The indices of dead elements: slices of the first axis where whole ones are dead, single indices otherwise."""
    if bool(dead.all()):
        return "all of it"
    rows = dead.flatten(1).all(1) if dead.ndim > 1 else dead
    if int(rows.sum()) * (dead[0].numel() if dead.ndim > 1 else 1) == int(dead.sum()):
        places = rows.nonzero()[:, 0].tolist()
        if places == list(range(places[0], places[-1] + 1)):
            return f"[{places[0]}]" if len(places) == 1 else f"[{places[0]}:{places[-1] + 1}]"
    fewer = dead
    while fewer.ndim > 1 and torch.equal(fewer.all(-1), fewer.any(-1)):
        fewer = fewer.all(-1)
    colons = [":"] * (dead.ndim - fewer.ndim)
    named = ["[" + ", ".join([*map(str, place), *colons]) + "]" for place in fewer.nonzero()[:NAMED].tolist()]
    more = int(fewer.sum()) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


@check(
    "every parameter gets a finite gradient, non-zero unless declared as a zero gradient",
    remedy="use the parameter; only where the formula makes its gradient zero, declare it and say why in `reason`",
    needs=("shape", "input_untouched"),
)
def gradients(mixer: MixerUnderTest) -> None:
    declared, zero = mixer.entry.zero_gradient, VANISHING[mixer.precise]
    confirmed: set[str] = set()
    missing: dict[str, list[Tensor]] = {}  # parameter -> where its gradient is zero, in each stage, if not declared
    faults: list[str] = []
    for stage, block, images in PLACES:
        for name, gradient in _largest_gradients(mixer, stage, block, images).items():
            dead = int((gradient <= zero).sum())
            covering = [item for item in declared if fnmatch.fnmatchcase(name, item.parameter)]
            if not covering:
                missing.setdefault(name, []).append(gradient <= zero)
            if dead and not covering:
                faults.append(
                    f"{dead} of {gradient.numel()} elements of {name} get no gradient (stage {stage}): "
                    f"{elements(gradient <= zero)}"
                )
            elif dead == gradient.numel() and not any(item.whole for item in covering):
                faults.append(f"no element of {name} gets a gradient (stage {stage}), declared in part only")
            elif dead < gradient.numel() and any(item.whole for item in covering):
                faults.append(f"{name} is declared a zero gradient, but gets one (stage {stage})")
            if dead:
                confirmed.update(item.parameter for item in covering)
    faults += [
        f"{item.parameter} is declared a zero gradient, but all of it learns, or there is no such name"
        for item in declared
        if item.parameter not in confirmed
    ]
    if faults:
        raise BrokenPromiseError(faults[0], proposal=_proposal(missing))


def _proposal(missing: Mapping[str, Sequence[Tensor]]) -> str:
    """The declarations of zero gradients that are missing, with the reason left to fill in."""
    entries = []
    for name, masks in missing.items():
        if any(bool(dead.any()) for dead in masks):
            first = next(dead for dead in masks if bool(dead.any()))
            whole = all(bool(dead.all()) for dead in masks)
            part = elements(first) + ("" if whole else f" of {' x '.join(map(str, first.shape))}")
            said = f'parameter="{name}", part="{part}", reason="..."' + (", whole=True" if whole else "")
            entries.append(f"ZeroGradient({said})")
    return f"zero_gradient=({', '.join(entries)},)," if entries else ""


@check(
    "the gradient reaches every image of the input",
    remedy="leave out detach(), .data and no_grad() on the way from the input to the output",
    needs=("shape", "input_untouched"),
)
def input_gradient(mixer: MixerUnderTest) -> None:
    images = mixer.images(2).requires_grad_()
    output = mixer.module()(images)
    if not output.requires_grad:
        raise BrokenPromiseError("the output does not depend on the input")
    (gradient,) = torch.autograd.grad((output * torch.randn_like(output)).sum(), images, allow_unused=True)
    if gradient is None:
        raise BrokenPromiseError("the output does not depend on the input")
    if not bool(torch.isfinite(gradient).all()):
        raise BrokenPromiseError("it is not finite")
    if not bool(gradient.flatten(1).abs().amax(1).gt(0).all()):
        raise BrokenPromiseError("it is zero")


@check(
    "a second training step works: nothing of the first one's graph is used again",
    remedy="detach what is kept from one forward pass to the next, or compute it again while training",
    needs=("input_gradient",),
)
def second_step(mixer: MixerUnderTest) -> None:
    module, images = mixer.module().train(), mixer.images(2).requires_grad_()
    for step in (1, 2):
        try:
            module(images).sum().backward()
        except RuntimeError as error:
            if step == 1:
                raise
            raise BrokenPromiseError(" ".join(str(error).split())[:120]) from error
