"""What a mixer takes, as its entry declares it or as trying it shows: sizes of maps, widths, dtypes, devices."""

from __future__ import annotations

import functools
from typing import Any, Final

import torch
from torch import Tensor, nn

from stmbench.errors import ConfigError, reason_of
from stmbench.mixers.base import BlockPosition, MixerEntry

DTYPES: Final = ("float64", "float32", "bfloat16", "float16")
SHORT: Final = {"fp64": "float64", "fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
DEVICES: Final = ("cpu", "cuda")
MULTIPLES: Final = range(1, 97)  # of channels that are tried
WIDTH: Final = 64  # channels that a mixer is tried with, or the next multiple of what it needs
SIDE: Final = 14  # of the map


def dtypes_of(entry: MixerEntry) -> tuple[torch.dtype, ...]:
    """The floating-point types that a mixer computes in."""
    return tuple(getattr(torch, name) for name in entry.dtypes or DTYPES)


def dtype_named(name: str) -> torch.dtype:
    """The type of a name, which may be that of other commands (fp32). Raises ConfigError."""
    full = SHORT.get(name, name)
    if full not in DTYPES:
        raise ConfigError(f"a dtype ({', '.join(DTYPES)})", repr(name), "correct --dtype")
    kind: torch.dtype = getattr(torch, full)
    return kind


def usual_dtype(entry: MixerEntry) -> torch.dtype:
    """float32, or the first that a mixer computes in."""
    known = dtypes_of(entry)
    return torch.float32 if torch.float32 in known else known[0]


def device_of(entry: MixerEntry) -> torch.device | None:
    """Where this machine can run a mixer: the CPU, or else the first of its devices; None where it has none of them."""
    if not entry.devices or "cpu" in entry.devices:
        return torch.device("cpu")
    return next((torch.device(name) for name in entry.devices if is_there(name)), None)


def is_there(device: str) -> bool:
    """Whether this machine has a type of device."""
    module = getattr(torch, device, None)
    return device == "cpu" or bool(getattr(module, "is_available", bool)())


def require_support(entry: MixerEntry, *, device: str | None = None, dtype: torch.dtype | None = None) -> None:
    """Whether a mixer runs on a device and computes in a dtype, by what its entry says. Raises ConfigError."""
    if device is not None and entry.devices and torch.device(device).type not in entry.devices:
        named = " or ".join(entry.devices)
        raise ConfigError(f"{named}, the only device of {entry.name}", device, f"use --device {entry.devices[0]}")
    if dtype is not None and dtype not in dtypes_of(entry):
        named, got = " or ".join(entry.dtypes), str(dtype).removeprefix("torch.")
        raise ConfigError(f"{named}, the only dtype of {entry.name}", got, "change --dtype")


def limits(entry: MixerEntry) -> list[str]:
    """What a mixer declares that it does not take or promise, one per line."""
    said = []
    if not entry.any_size:
        said.append("takes maps of one size alone, that of its position")
    if entry.dtypes:
        said.append(f"computes in {' or '.join(entry.dtypes)} alone")
    if entry.devices:
        said.append(f"runs on {' or '.join(entry.devices)} alone")
    if entry.nondeterministic_backward:
        said.append(f"its gradients may differ from run to run: {entry.nondeterministic_backward}")
    return said


def position_of(entry: MixerEntry, size: tuple[int, int] = (SIDE, SIDE), **options: Any) -> BlockPosition:
    """A position in the third stage whose width the mixer takes."""
    multiple = channel_multiple(entry, **options)
    return BlockPosition(stage=2, block=1, dim=-(-WIDTH // multiple) * multiple, resolution=size)


def tried(entry: MixerEntry, position: BlockPosition, size: tuple[int, int], **options: Any) -> Any:
    """What the mixer of a position gives for one image's map of this size. May raise anything."""
    device, dtype = device_of(entry), usual_dtype(entry)
    assert device is not None, entry.devices
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        module: nn.Module = entry.build(position, **options).to(device, dtype).eval()
        return module(torch.randn((1, *size, position.dim)).to(device, dtype))


def channel_multiple(entry: MixerEntry, **options: Any) -> int:
    """What a mixer's widths are multiples of.

    Where the entry does not say, the smallest of `MULTIPLES` two of whose multiples, without another common factor,
    build and run (build, where this machine cannot run it). 1 where none does: each width is then tried in its turn.

    Args:
        options: of the mixer.
    """
    if entry.channel_multiple is not None:
        return entry.channel_multiple
    return next((multiple for multiple in MULTIPLES if _fits(entry, multiple, options)), 1)


def _fits(entry: MixerEntry, multiple: int, options: dict[str, Any]) -> bool:
    times = -(-WIDTH // multiple) | 1  # odd; two odd numbers that follow each other have no common factor
    return all(why_not(entry, multiple * number, **options) is None for number in (times, times + 2))


def why_not(entry: MixerEntry, dim: int, **options: Any) -> str | None:
    """Why a mixer cannot take a width, found by trying it on a small map; None where it can.

    Where this machine cannot run it, it is only built.
    """
    key = tuple(sorted(options.items()))
    try:
        return _tried_width(_ByIdentity(entry), dim, key)
    except TypeError:  # an option that cannot be hashed
        return _tried_width.__wrapped__(_ByIdentity(entry), dim, key)


class _ByIdentity:
    """An entry as the key of a cache: equal to itself and, unlike entries, always hashable."""

    def __init__(self, entry: MixerEntry) -> None:
        self.entry = entry

    def __hash__(self) -> int:
        return hash((id(self.entry.module), id(self.entry.config), id(self.entry.config_at)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and all(
            getattr(self.entry, name) is getattr(other.entry, name) for name in ("module", "config", "config_at")
        )


@functools.lru_cache(maxsize=2048)
def _tried_width(key: _ByIdentity, dim: int, options: tuple[tuple[str, Any], ...]) -> str | None:
    entry, named = key.entry, dict(options)
    position = BlockPosition(stage=2, block=1, dim=dim, resolution=(SIDE, SIDE))
    try:
        if device_of(entry) is None:
            entry.build(position, **named)
            return None
        output = tried(entry, position, (SIDE, SIDE), **named)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a mixer that refuses a width may raise anything
        return reason_of(error)
    width = output.shape[-1] if isinstance(output, Tensor) else type(output).__name__
    return None if width == dim else f"{dim} channels became {width}"
