"""Checks of what a mixer takes: its config, its position and its options."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

from stmbench.errors import ConfigError
from stmbench.mixers.conformance.check import BrokenPromiseError, MixerUnderTest, check


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
