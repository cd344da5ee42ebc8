"""Checks of the affinity, where a mixer offers one: it is what forward does, and all its forms agree."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from stmbench.mixers.affinity import Affinity, HasAffinity
from stmbench.mixers.conformance.check import BrokenPromiseError, MixerUnderTest, NotApplicableError, check

CLOSE = 1e-5  # of the largest number
EXACT = 1e-10  # of the largest weight: two ways of reading the same weights, in float64
SIZES = ((14, 14), (9, 11), (3, 17), (1, 1))
PLACES = ((0, 0), (1, 1), (3, 0))  # stage, block
FEW = (4, 6)  # (H, W) on which the dense form is compared


@check(
    "applied to the values and projected, the affinity gives the output, with gradients and without",
    remedy="make affinity(x) the weights that forward uses, column by column in the order of values(x)",
    needs=("any_size", "dtype", "deterministic"),
)
def affinity(mixer: MixerUnderTest) -> None:
    for stage, block in PLACES:
        module = mixer.module(stage, block)
        for height, width in mixer.sizes(SIZES, stage):
            images = mixer.images(2, (height, width), stage)
            for with_gradients in (False, True):
                with torch.set_grad_enabled(with_gradients), _nothing_kept():
                    expected, product = (each.detach() for each in _identity(module, images, height, width))
                where = f"{height}x{width}, stage {stage}" + " with gradients" * with_gradients
                if product.shape != expected.shape:
                    raise BrokenPromiseError(f"{tuple(product.shape)} instead of {tuple(expected.shape)} at {where}")
                difference = float((product - expected).abs().max())
                if not difference <= mixer.close(CLOSE) * float(expected.abs().max()):
                    raise BrokenPromiseError(f"it differs from the output by up to {difference:.3g} at {where}")


@check(
    "rows, entries and the dense form of the affinity are the same weights; static + dynamic is the whole",
    remedy="use a form of stmbench.mixers.affinity; softmax_rows=True only where rows are non-negative and sum to one",
    needs=("affinity",),
)
def affinity_forms(mixer: MixerUnderTest) -> None:
    stage = 0 if mixer.entry.any_size else 3  # whose only map is small
    module, (few,) = _with_affinity(mixer.module(stage, 1)), mixer.sizes((FEW,), stage)
    for with_gradients in (False, True):
        with torch.set_grad_enabled(with_gradients), _nothing_kept():
            _compare_forms(mixer, module, few, stage)


def _compare_forms(mixer: MixerUnderTest, module: HasAffinity, few: tuple[int, int], stage: int) -> None:
    images, others = (mixer.images(2, few, stage, seed=seed) for seed in (1, 2))
    whole = module.affinity(images)
    dense = whole.dense()
    if tuple(dense.shape) != whole.shape or whole.shape[2] != few[0] * few[1]:
        raise BrokenPromiseError(f"shape {whole.shape}, dense {tuple(dense.shape)}, on a map of {few}")
    queries = torch.tensor([dense.shape[2] - 1, 0, 7], device=images.device)
    _same(mixer, whole.rows(queries), dense[:, :, queries], "rows(queries) and the dense form differ")
    columns, weights = whole.entries(queries)
    gathered = torch.zeros_like(dense[:, :, queries])
    gathered.scatter_add_(3, columns.expand(*gathered.shape[:3], -1), weights.expand(len(dense), -1, -1, -1))
    _same(mixer, gathered, dense[:, :, queries], "entries(queries) and the dense form differ")
    parts = [part for part in (whole.static, whole.dynamic) if part is not None]
    _same(
        mixer,
        sum((part.dense() for part in parts), torch.zeros_like(dense)),
        dense,
        "the parts do not sum to the whole",
    )
    if whole.static is not None:
        elsewhere = module.affinity(others).static
        if elsewhere is None:
            raise BrokenPromiseError("the static part depends on the input: another one has none")
        _same(mixer, elsewhere.dense(), whole.static.dense(), "the static part depends on the input")
    if mixer.entry.softmax_rows:
        least = float(dense.detach().min())
        if least < 0:
            raise BrokenPromiseError(f"softmax_rows is declared, but a weight is {least:.3g}")
        _same(
            mixer,
            dense.sum(dim=3),
            torch.ones_like(dense[..., 0]),
            "softmax_rows is declared, but rows do not sum to 1",
        )


def _nothing_kept() -> AbstractContextManager[object]:
    """No backward pass follows: what it would need of a scan's affinity are 10 GB."""
    return saved_tensors_hooks(lambda tensor: None, lambda _: _)


def _identity(module: nn.Module, images: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """(the output, or the aggregated values; what the affinity gives instead)."""
    offered = _with_affinity(module)
    whole: Affinity = offered.affinity(images)
    mixed = whole.apply(offered.values(images))
    project, aggregated = (getattr(module, name, None) for name in ("project", "aggregated"))
    if project is not None:
        return module(images), project(mixed, height, width)
    if aggregated is not None:
        return aggregated(images), mixed
    raise BrokenPromiseError("there is neither project(mixed, height, width) nor aggregated(x) to compare it with")


def _with_affinity(module: nn.Module) -> HasAffinity:
    if not isinstance(module, HasAffinity):
        raise NotApplicableError("the mixer offers no affinity")
    return module


def _same(mixer: MixerUnderTest, actual: Tensor, expected: Tensor, complaint: str) -> None:
    actual, expected = actual.detach(), expected.detach()
    difference = float((actual - expected).abs().max())
    if not difference <= mixer.close(EXACT) * float(expected.abs().max()):
        raise BrokenPromiseError(f"{complaint} by up to {difference:.3g}")
