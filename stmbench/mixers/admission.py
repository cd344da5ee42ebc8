"""What the registry asks of a mixer before it is admitted: facts that it knows, and a map that keeps its shape."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from stmbench.errors import InputError, PluginError, printable
from stmbench.mixers.base import BlockPosition, MixerConfig, MixerEntry
from stmbench.registry import require_name

_MAPS = ((14, 14), (7, 9))  # (H, W) that a mixer is tried on
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
    for fact in ("title", "abbreviation", "method", "citation"):
        text = getattr(entry, fact) or ""
        if printable(text) != text or "\n" in text:
            raise PluginError(f"{fact} of {name} in printable characters", repr(text), "remove the others")
    for fact, allowed in _CHOICES:
        if getattr(entry, fact) not in allowed:
            raise PluginError(f"{fact} of {name} among {', '.join(allowed)}", repr(getattr(entry, fact)), "change it")


def _check_shape(entry: MixerEntry) -> None:
    name = entry.name
    dim = entry.channel_multiple * -(-64 // entry.channel_multiple)  # 64 channels, rounded up to the multiple
    remedy = f"run `stmbench check` on the file of {name}"
    for height, width in _MAPS:
        shape = (1, height, width, dim)
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                module = entry.build(BlockPosition(stage=2, block=1, dim=dim, resolution=(14, 14))).eval()
                output = module(torch.randn(shape))
        except KeyboardInterrupt:
            raise
        except InputError as error:
            raise PluginError(error.expected, f"{error.got} in {name}", error.remedy) from error
        except BaseException as error:
            what = f"{type(error).__name__}: {error}"
            raise PluginError(f"{name} to map {shape} to {shape}", what, remedy) from error
        got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        if got != shape:
            raise PluginError(f"{name} to map {shape} to {shape}", str(got), "return (B, H, W, C), like the input")
