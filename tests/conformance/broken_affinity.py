"""Mixers whose affinity is not what forward does, or says different things in different forms."""

from __future__ import annotations

import torch
from torch import Tensor

from stmbench.mixers.affinity import (
    Affinity,
    PointAffinity,
    StencilAffinity,
    join_heads,
    map_columns,
    split_into_heads,
    square_offsets,
)
from stmbench.mixers.base import MixerEntry
from tests.conformance.broken import Sound, entry


class Weighed(Sound):
    """Sound, with an affinity that is sound too."""

    def affinity(self, x: Tensor) -> Affinity:
        batch, height, width, dim = x.shape
        columns = map_columns(height, width)
        return StencilAffinity(self.conv.weight.view(1, dim, 1, 9), self.offsets(), columns, kind="static", batch=batch)

    def offsets(self) -> Tensor:
        return square_offsets(3)

    def values(self, x: Tensor) -> Tensor:
        return split_into_heads(x, self.config.dim)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        assert self.conv.bias is not None
        y: Tensor = self.proj(join_heads(mixed, height, width) + self.conv.bias)
        return y


class WrongByOnePosition(Weighed):
    """Every weight is right, and belongs to the position beside it."""

    def offsets(self) -> Tensor:
        return square_offsets(3) + torch.tensor([0, 1])


class WrongAtTheBorder(Weighed):
    """Right inside the map; what leaves it on the right comes back on the left of the next row."""

    def affinity(self, x: Tensor) -> Affinity:
        _, height, width, _ = x.shape
        places = torch.arange(height * width)
        index = places[:, None] + self.offsets() @ torch.tensor([width, 1])
        inside = (index >= 0) & (index < height * width)
        weights = self.conv.weight.view(1, -1, 1, 9) * inside
        shape = (len(x), self.config.dim, height * width, 9)
        return PointAffinity(
            index.clamp(0, height * width - 1).expand(shape), weights.expand(shape), map_columns(height, width)
        )


class LeavesTheBiasOut(Weighed):
    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        y: Tensor = self.proj(join_heads(mixed, height, width))
        return y


class Reversed(StencilAffinity):
    """Applies what it is, and shows something else."""

    def rows(self, queries: Tensor) -> Tensor:
        return super().rows(queries).flip(2)


class ShowsSomethingElse(Weighed):
    def affinity(self, x: Tensor) -> Affinity:
        batch, height, width, dim = x.shape
        columns = map_columns(height, width)
        return Reversed(self.conv.weight.view(1, dim, 1, 9), self.offsets(), columns, kind="static", batch=batch)


class FailsWithGradients(Weighed):
    """Its kernels are written into one of several views that were made without autograd."""

    def affinity(self, x: Tensor) -> Affinity:
        batch, height, width, dim = x.shape
        with torch.no_grad():
            halves = self.conv.weight.new_zeros(dim, 9).chunk(2)
        for half, kernels in zip(halves, self.conv.weight.view(dim, 9).chunk(2), strict=True):
            half.copy_(kernels)
        weights = torch.cat(halves).view(1, dim, 1, 9)
        return StencilAffinity(weights, self.offsets(), map_columns(height, width), kind="static", batch=batch)


class CallsItStatic(Weighed):
    """A kernel that the input scales."""

    def forward(self, x: Tensor) -> Tensor:
        return Sound.forward(self, x) + 0 * x

    def values(self, x: Tensor) -> Tensor:
        return super().values(x) / self._scale(x)

    def affinity(self, x: Tensor) -> Affinity:
        batch, height, width, dim = x.shape
        weights = self.conv.weight.view(1, dim, 1, 9) * self._scale(x)
        return StencilAffinity(weights, self.offsets(), map_columns(height, width), kind="static", batch=batch)

    def _scale(self, x: Tensor) -> Tensor:
        return 1 + x.square().mean((1, 2, 3)).view(-1, 1, 1, 1)


BROKEN: dict[str, MixerEntry] = {
    "affinity": entry(WrongByOnePosition),
    "affinity (around the border)": entry(WrongAtTheBorder),
    "affinity (without a bias)": entry(LeavesTheBiasOut),
    "affinity (with gradients)": entry(FailsWithGradients),
    "affinity_forms": entry(ShowsSomethingElse),
    "affinity_forms (not static)": entry(CallsItStatic),
    "affinity_forms (no softmax)": entry(Weighed, softmax_rows=True),
}
