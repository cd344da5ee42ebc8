"""Configs that break one promise each; `broken` makes mixers of them."""

from __future__ import annotations

import dataclasses

from stmbench.errors import ConfigError
from stmbench.mixers.base import BlockPosition, MixerConfig


@dataclasses.dataclass(kw_only=True)
class Open:
    """A config that can be changed: no MixerConfig, for a frozen dataclass has no open children."""

    dim: int

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ConfigError("dim >= 1", repr(self.dim), "change it")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Credulous(MixerConfig):
    """Takes any number of channels."""

    def __post_init__(self) -> None:
        pass


class Restless:
    """A config_at with a memory."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, position: BlockPosition, *, tick: int = 0) -> Counted:
        self.calls += 1
        return Counted(dim=position.dim, tick=self.calls)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counted(MixerConfig):
    tick: int = 0
