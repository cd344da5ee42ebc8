"""The check of the merged form: what a mixer that was trained in branches, or with BatchNorm, is deployed as."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stmbench.mixers.conformance.check import BrokenPromiseError, MixerUnderTest, NotApplicableError, check

EXACT = 1e-10  # of the largest output, in float64
SIZES = ((14, 14), (9, 11), (1, 3))
PLACES = ((0, 0), (2, 0), (2, 1), (3, 0))  # stage, block


@check(
    "merge() gives a new module that does the same in eval mode, and leaves the mixer as it was",
    remedy="build the merged form of new tensors; take running_mean, running_var, eps, weight and bias of each norm",
    needs=("any_size", "dtype", "deterministic"),
)
def merge(mixer: MixerUnderTest) -> None:
    for stage, block in PLACES:
        module = mixer.module(stage, block)
        _randomise_statistics(module)
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        merged = _merged(module)
        if merged is module:
            raise NotApplicableError("there is nothing to merge")
        _same_state(module, before, "merge() changed the mixer")
        if merged.training:
            raise BrokenPromiseError("the merged form is in training mode")
        if _merged(merged) is not merged:
            raise BrokenPromiseError("the merged form merges again: merge() of a merged mixer is the mixer itself")
        for size in mixer.sizes(SIZES, stage):
            images = mixer.images(2, size, stage)
            with torch.no_grad():
                _same(mixer, merged(images), module(images), f"{size[0]}x{size[1]}, stage {stage}")
        _count(mixer, merged, stage)
        with torch.no_grad():
            for tensor in merged.state_dict().values():
                tensor.add_(1)
        _same_state(module, before, "the merged form shares memory with the mixer")


def _merged(module: nn.Module) -> nn.Module:
    merge = getattr(module, "merge", None)
    merged = module if merge is None else merge()
    if not isinstance(merged, nn.Module):
        raise BrokenPromiseError(f"merge() gave a {type(merged).__name__}, not a module")
    return merged


def _randomise_statistics(module: nn.Module) -> None:
    """Running statistics as of a trained network; initial ones, 0 and 1, would hide what forgets them."""
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.5)
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)


def _same_state(module: nn.Module, before: dict[str, Tensor], complaint: str) -> None:
    after = module.state_dict()
    if list(after) != list(before) or any(not torch.equal(after[name], before[name]) for name in before):
        raise BrokenPromiseError(complaint)


def _same(mixer: MixerUnderTest, actual: Tensor, expected: Tensor, where: str) -> None:
    difference = float((actual - expected).abs().max())
    if not difference <= mixer.close(EXACT) * float(expected.abs().max()):
        raise BrokenPromiseError(f"the merged form differs by up to {difference:.3g} at {where}")


def _count(mixer: MixerUnderTest, merged: nn.Module, stage: int) -> None:
    formula = getattr(merged, "macs", None)
    if mixer.count is None or formula is None:
        return
    ((height, width),) = mixer.sizes(((9, 14),), stage)
    counted, given = mixer.count(merged, (height, width, mixer.position(stage).dim)), formula(height, width)
    if given != counted:
        raise BrokenPromiseError(f"the formula gives {given} for the merged form, the counter {counted}")
