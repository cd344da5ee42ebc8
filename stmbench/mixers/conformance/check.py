"""A check (name, promise, remedy, function), its outcome, and the mixer it examines."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from stmbench.mixers.base import BlockPosition, MixerConfig, MixerEntry

Count = Callable[[nn.Module, tuple[int, int, int]], int]  # multiply-adds for one image of shape (H, W, C)
SCALE = "micro"
DESIGN_MAPS = (56, 28, 14, 7)  # side of the map of every stage at 224 x 224
SMALLEST_MAPS = (8, 4, 2, 1)  # and at 32 x 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixerUnderTest:
    """A registry entry, built at the positions of a micro model, and inputs for it.

    `count` may be None: the MAC formula is then not compared.
    """

    entry: MixerEntry
    count: Count | None = None

    def position(self, stage: int = 2, block: int = 1) -> BlockPosition:
        """A position in the mixer's micro network."""
        side = DESIGN_MAPS[stage]
        dim = self.entry.preset(SCALE).dims[stage]
        multiple = self.entry.channel_multiple
        return BlockPosition(stage=stage, block=block, dim=-(-dim // multiple) * multiple, resolution=(side, side))

    def config(self, stage: int = 2, block: int = 1) -> MixerConfig:
        """The config of that position."""
        return self.entry.config_at(self.position(stage, block), **self.entry.preset(SCALE).options)

    def module(self, stage: int = 2, block: int = 1, *, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
        """The mixer of that position in eval mode, its initial weights perturbed by normal noise (sd 0.05)."""
        torch.manual_seed(seed)
        module = self.entry.build(self.position(stage, block), **self.entry.preset(SCALE).options).to(dtype)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        return module.eval()

    def images(
        self,
        batch: int = 2,
        size: tuple[int, int] = (14, 14),
        stage: int = 2,
        *,
        dtype: torch.dtype = torch.float64,
        seed: int = 1,
    ) -> Tensor:
        """(batch, *size, C) of normal noise plus a random level per channel and image."""
        torch.manual_seed(seed)
        dim = self.position(stage).dim
        # without the levels, a pooled unit behind a ReLU could be dead for a whole batch by chance
        return (torch.randn(batch, *size, dim) + torch.randn(batch, 1, 1, dim)).to(dtype)


class BrokenPromiseError(Exception):
    """Raised by a check: the text says what was found instead of what the contract promises."""


class NotApplicableError(Exception):
    """Raised by a check that does not apply: the text says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """One promise of the contract. `needs` names the checks that must pass first."""

    name: str
    promise: str
    remedy: str
    needs: tuple[str, ...]
    function: Callable[[MixerUnderTest], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a check: `found` is what broke the promise, or why the check was skipped."""

    check: str
    status: Literal["passed", "failed", "skipped"]
    promise: str
    found: str = ""
    remedy: str = ""


CHECKS: dict[str, Check] = {}


def check(
    promise: str, *, remedy: str, needs: tuple[str, ...] = ("shape",)
) -> Callable[[Callable[[MixerUnderTest], None]], Callable[[MixerUnderTest], None]]:
    """Decorator: the function's name becomes the check's name, and checks run in the order of definition."""

    def decorate(function: Callable[[MixerUnderTest], None]) -> Callable[[MixerUnderTest], None]:
        name = function.__name__
        CHECKS[name] = Check(name=name, promise=promise, remedy=remedy, needs=needs, function=function)
        return function

    return decorate
