"""A check (name, promise, remedy, function), its outcome, and the mixer it examines."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from stmbench.mixers import trials
from stmbench.mixers.base import BlockPosition, MixerConfig, MixerEntry

Count = Callable[[nn.Module, tuple[int, int, int]], int]  # multiply-adds for one image of shape (H, W, C)
SCALE = "micro"
DESIGN_MAPS = (56, 28, 14, 7)  # side of the map of every stage at 224 x 224
SMALLEST_MAPS = (8, 4, 2, 1)  # and at 32 x 32
CPU = torch.device("cpu")
# of the largest number: how close results are that are equal but for rounding, and gradients that are zero but for it
ROUNDING = {torch.float64: 0.0, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
VANISHING = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 1e-3, torch.float16: 1e-3}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixerUnderTest:
    """A registry entry, built at the positions of a micro model, and inputs for it.

    Attributes:
        count: None: the MAC formula is not compared.
        dtypes: those to compute in.
    """

    entry: MixerEntry
    count: Count | None = None
    device: torch.device = CPU
    dtypes: tuple[torch.dtype, ...] = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

    @property
    def precise(self) -> torch.dtype:
        """What numbers are compared in: float64, float32, or the first of `dtypes`."""
        return next((kind for kind in (torch.float64, torch.float32) if kind in self.dtypes), self.dtypes[0])

    @property
    def usual(self) -> torch.dtype:
        """What is computed in where only shapes matter: float32, or else `precise`."""
        return torch.float32 if torch.float32 in self.dtypes else self.precise

    def close(self, limit: float) -> float:
        """A limit for float64, relative to the largest number, as it is for `precise`."""
        return max(limit, ROUNDING[self.precise])

    def require(self, dtype: torch.dtype) -> None:
        """Raise NotApplicableError unless the mixer computes in this dtype."""
        if dtype not in self.dtypes:
            known = ", ".join(map(str, self.dtypes)).replace("torch.", "")
            raise NotApplicableError(f"{str(dtype).removeprefix('torch.')} is not among its dtypes: {known}")

    def sizes(self, sizes: Sequence[tuple[int, int]], stage: int) -> Sequence[tuple[int, int]]:
        """(H, W) to try in a stage: these, or its own alone."""
        return sizes if self.entry.any_size else (self.position(stage).resolution,)

    def position(self, stage: int = 2, block: int = 1) -> BlockPosition:
        """A position in the mixer's micro network."""
        side = DESIGN_MAPS[stage]
        dim = self.entry.preset(SCALE).dims[stage]
        multiple = trials.channel_multiple(self.entry, **self.entry.preset(SCALE).options)
        return BlockPosition(stage=stage, block=block, dim=-(-dim // multiple) * multiple, resolution=(side, side))

    def config(self, stage: int = 2, block: int = 1) -> MixerConfig:
        """The config of that position."""
        return self.entry.config_at(self.position(stage, block), **self.entry.preset(SCALE).options)

    def fresh(self, stage: int = 2, block: int = 1, *, dtype: torch.dtype | None = None) -> nn.Module:
        """The mixer of that position with its initial weights in eval mode; `precise` by default."""
        module = self.entry.build(self.position(stage, block), **self.entry.preset(SCALE).options)
        return module.to(self.device, dtype or self.precise).eval()

    def module(self, stage: int = 2, block: int = 1, *, dtype: torch.dtype | None = None, seed: int = 0) -> nn.Module:
        """The mixer of that position in eval mode, its initial weights perturbed by normal noise (sd 0.05)."""
        torch.manual_seed(seed)
        module = self.fresh(stage, block, dtype=dtype)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        return module

    def images(
        self,
        batch: int = 2,
        size: tuple[int, int] = (14, 14),
        stage: int = 2,
        *,
        dtype: torch.dtype | None = None,
        seed: int = 1,
    ) -> Tensor:
        """(batch, *size, C) of normal noise plus a random level per channel and image."""
        torch.manual_seed(seed)
        dim = self.position(stage).dim
        # without the levels, a pooled unit behind a ReLU could be dead for a whole batch by chance
        noise = torch.randn(batch, *size, dim) + torch.randn(batch, 1, 1, dim)
        return noise.to(self.device, dtype or self.precise)


class BrokenPromiseError(Exception):
    """Raised by a check: the text says what was found instead of what the contract promises.

    `proposal` is a line for the registration that can be the fix.
    """

    def __init__(self, found: str, *, proposal: str = "") -> None:
        super().__init__(found)
        self.proposal = proposal


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
    """The result of a check: `found` is what broke the promise, or why the check was skipped.

    `not_run` is True where the mixer's device is not there. `proposal` is a line to paste where that can be the fix.
    """

    check: str
    status: Literal["passed", "failed", "skipped"]
    promise: str
    found: str = ""
    remedy: str = ""
    not_run: bool = False
    proposal: str = ""


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
