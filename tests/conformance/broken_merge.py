"""Mixers whose merged form breaks a promise, and one whose merged form is sound."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from stmbench.mixers.base import MixerEntry
from tests.conformance.broken import entry
from tests.conformance.sound import Config, Sound


class Merging(Sound):
    """A norm after the convolution: the merged form has it in the kernel."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.conv.bias = None  # the norm would take it out again
        self.norm: nn.Module = nn.BatchNorm2d(config.dim)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.proj(self.norm(self.conv(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1))
        return mixed

    def reference(self, x: Tensor) -> Tensor:
        return Merging.forward(self, x)

    def scale(self, norm: nn.BatchNorm2d) -> Tensor:
        assert norm.running_var is not None
        return norm.weight / (norm.running_var + norm.eps).sqrt()

    def shift(self, norm: nn.BatchNorm2d, scale: Tensor) -> Tensor:
        assert norm.running_mean is not None
        return norm.bias - norm.running_mean * scale

    def start(self) -> Merging:
        return copy.deepcopy(self)

    @torch.no_grad()
    def merge(self) -> nn.Module:
        if not isinstance(self.norm, nn.BatchNorm2d):
            return self
        merged, scale = self.start(), self.scale(self.norm)
        shift = self.shift(self.norm, scale)
        merged.conv.weight.mul_(scale[:, None, None, None])
        merged.conv.bias = nn.Parameter(shift)
        merged.norm = nn.Identity()
        return merged.eval()


class ForgetsEpsilon(Merging):
    def scale(self, norm: nn.BatchNorm2d) -> Tensor:
        assert norm.running_var is not None
        return norm.weight / norm.running_var.sqrt()


class ForgetsTheMean(Merging):
    def shift(self, norm: nn.BatchNorm2d, scale: Tensor) -> Tensor:
        return norm.bias


class MergesItself(Merging):
    def start(self) -> Merging:
        return copy.copy(self)  # its layers are the mixer's own


class StaysInTraining(Merging):
    def merge(self) -> nn.Module:
        merged = super().merge()
        return merged if merged is self else merged.train()


class MergesAgain(Merging):
    def merge(self) -> nn.Module:
        merged = super().merge()
        return copy.deepcopy(self) if merged is self else merged


BROKEN: dict[str, MixerEntry] = {
    "merge (epsilon)": entry(ForgetsEpsilon),
    "merge (mean)": entry(ForgetsTheMean),
    "merge (changes itself)": entry(MergesItself),
    "merge (training)": entry(StaysInTraining),
    "merge (again)": entry(MergesAgain),
}
