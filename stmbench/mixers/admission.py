"""What the registry asks of a mixer before it is admitted: facts that it knows, and a map that keeps its shape."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from stmbench.errors import InputError, PluginError, printable
from stmbench.mixers import trials
from stmbench.mixers.base import MixerConfig, MixerEntry
from stmbench.registry import require_name

_MAPS = ((trials.SIDE, trials.SIDE), (7, 9))  # (H, W) that a mixer is tried on
_CHOICES = (("sampling", ("local", "global", "learned")), ("weights", ("static", "dynamic", "both")))


def admit(entry: MixerEntry, sha256: str | None, *, try_out: bool) -> MixerEntry:
    """The entry with the hash of the plug-in's files.

    Args:
        try_out: also run the mixer on two small maps.

    Raises:
        PluginError: a name, class, config or fact that the registry refuses, or a mixer that does not keep the shape.
    """
    _check_facts(entry)
    if try_out:
        _check_shape(entry)
    return dataclasses.replace(entry, plugin_sha256=sha256)


def _check_facts(entry: MixerEntry) -> None:
    name = entry.name
    require_name(name)
    if not (isinstance(entry.module, type) and issubclass(entry.module, nn.Module)):
        raise PluginError(f"a torch.nn.Module class for {name}", repr(entry.module), "derive the class from nn.Module")
    if not (isinstance(entry.config, type) and issubclass(entry.config, MixerConfig)):
        raise PluginError(
            f"a config of {name} derived from MixerConfig", repr(entry.config), "write class Config(MixerConfig)"
        )
    for fact in ("title", "abbreviation", "method", "citation", "nondeterministic_backward"):
        text = getattr(entry, fact) or ""
        if printable(text) != text or "\n" in text:
            raise PluginError(f"{fact} of {name} in printable characters", repr(text), "remove the others")
    for fact, allowed in _CHOICES:
        if getattr(entry, fact) not in allowed:
            raise PluginError(f"{fact} of {name} among {', '.join(allowed)}", repr(getattr(entry, fact)), "change it")
    for fact, known in (("dtypes", trials.DTYPES), ("devices", trials.DEVICES)):
        value = getattr(entry, fact)
        if not isinstance(value, tuple) or any(item not in known for item in value):
            expected = f"{fact} of {name}, a tuple of some of {', '.join(known)}"
            raise PluginError(expected, repr(value), "change it")
    multiple = entry.channel_multiple
    if multiple is not None and (not isinstance(multiple, int) or multiple < 1):
        raise PluginError(f"channel_multiple of {name} of at least 1", repr(multiple), "change it, or leave it out")


def _check_shape(entry: MixerEntry) -> None:
    if trials.device_of(entry) is None:  # `stmbench check` says so
        return
    name, position = entry.name, trials.position_of(entry)
    remedy = f"run `stmbench check` on the file of {name}"
    for size in _MAPS if entry.any_size else (position.resolution,):
        shape = (1, *size, position.dim)
        try:
            output = trials.tried(entry, position, size)
        except KeyboardInterrupt:
            raise
        except InputError as error:
            raise PluginError(error.expected, f"{error.got} in {name}", error.remedy) from error
        except BaseException as error:
            what = f"{type(error).__name__}: {error}"
            is_other = size != position.resolution
            fix = f"{remedy}, or write any_size=False if it is made for one size of maps" if is_other else remedy
            raise PluginError(f"{name} to map {shape} to {shape}", what, fix) from error
        got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        if got != shape:
            raise PluginError(f"{name} to map {shape} to {shape}", str(got), "return (B, H, W, C), like the input")
