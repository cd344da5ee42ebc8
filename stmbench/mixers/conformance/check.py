"""A check (name, promise, remedy, function), its outcome, and the mixer it examines."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from stmbench.errors import ConfigError
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


@check(
    "the config is a frozen dataclass with keyword-only fields",
    remedy="write @dataclass(frozen=True, kw_only=True) above the config",
    needs=(),
)
def frozen_config(mixer: MixerUnderTest) -> None:
    config = mixer.entry.config
    # a subclass without the decorator is a dataclass by inheritance: its own annotations would be ignored silently
    if "__dataclass_fields__" not in vars(config):
        raise BrokenPromiseError(f"{config.__name__} is not decorated as a dataclass")
    if not config.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise BrokenPromiseError(f"{config.__name__} can be changed after construction")
    positional = [field.name for field in dataclasses.fields(config) if not field.kw_only]
    if positional:
        raise BrokenPromiseError(f"positional fields: {', '.join(positional)}")


@check(
    "the config refuses nonsense with a ConfigError",
    remedy="check the fields with require(...) in __post_init__, and call MixerConfig.__post_init__(self) there",
    needs=(),
)
def config_refuses_nonsense(mixer: MixerUnderTest) -> None:
    config = mixer.config()
    for dim in (0, -1):
        try:
            dataclasses.replace(config, dim=dim)
        except ConfigError:
            continue
        raise BrokenPromiseError(f"dim={dim} was accepted")


@check(
    "config_at(position) gives the same config every time, and every option is named",
    remedy="make config_at a function of its arguments alone, each of them written out",
    needs=(),
)
def config_at_is_a_function(mixer: MixerUnderTest) -> None:
    for stage, block in ((0, 0), (2, 1), (3, 0)):
        if mixer.config(stage, block) != mixer.config(stage, block):
            raise BrokenPromiseError(f"two different configs for stage {stage}, block {block}")
    module = mixer.entry.module
    callables: dict[str, Callable[..., Any]] = {
        "config_at": mixer.entry.config_at,
        "the constructor": module,
        "forward": module.forward,
    }
    for name, function in callables.items():
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
                raise BrokenPromiseError(f"{name} takes {parameter}, which would swallow a misspelt option")
    try:
        mixer.entry.build(mixer.position(), no_such_option=1)
    except ConfigError:
        return
    raise BrokenPromiseError("the option no_such_option was accepted")


for module in ("configs", "forward", "gradients", "numbers", "affinity"):  # fills CHECKS, in this order
    importlib.import_module(f"stmbench.mixers.conformance.{module}")


def conform(entry: MixerEntry, *, count: Count | None = None) -> list[Outcome]:
    """Outcomes of all checks, in the order of `CHECKS`; the global random state is left as it was.

    Args:
        entry: what the registry holds.
        count: (module, (H, W, C)) -> multiply-adds for one image; without it the MAC formula is not compared.
    """
    mixer = MixerUnderTest(entry=entry, count=count)
    outcomes: dict[str, Outcome] = {}
    for check in CHECKS.values():
        unmet = [name for name in check.needs if outcomes[name].status != "passed"]
        if unmet:
            outcomes[check.name] = Outcome(
                check=check.name, status="skipped", promise=check.promise, found=f"needs {', '.join(unmet)} to pass"
            )
        else:
            outcomes[check.name] = _outcome(check, mixer)
    return list(outcomes.values())


def _outcome(check: Check, mixer: MixerUnderTest) -> Outcome:
    with torch.random.fork_rng(devices=[]):
        try:
            check.function(mixer)
        except NotApplicableError as reason:
            return Outcome(check=check.name, status="skipped", promise=check.promise, found=str(reason))
        except BrokenPromiseError as error:
            found = str(error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # the mixer is third-party code: whatever it raises is what the check found
            found = f"{type(error).__name__}: {' '.join(str(error).split())}"
        else:
            return Outcome(check=check.name, status="passed", promise=check.promise)
    return Outcome(check=check.name, status="failed", promise=check.promise, found=found, remedy=check.remedy)
