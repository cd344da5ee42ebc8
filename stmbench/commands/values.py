"""Parse command-line values; errors say what was expected, what was given, and the remedy."""

from __future__ import annotations

from collections.abc import Iterable

import typer

from stmbench.errors import ConfigError, UnknownNameError

SCALE_NAMES = ("nano", "micro", "tiny", "small", "base")
DTYPE_NAMES = ("fp32", "tf32", "bf16", "fp16")
LARGEST = 16_384  # pixels a side: a typing mistake
SMALLEST = 1  # pixels a side; each network says its own limit


def given(ctx: typer.Context, *names: str) -> list[str]:
    """Those of the options that were on the command line."""
    sources = {name: ctx.get_parameter_source(name) for name in names}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def items(values: Iterable[str] | str | None) -> list[str]:
    """The items of comma-separated lists; a comma inside brackets does not separate (`a[x=1,y=2],b` is two items)."""
    separated: list[str] = []
    for text in [values] if isinstance(values, str) else values or ():
        depth, item = 0, ""
        for character in f"{text},":
            depth += (character == "[") - (character == "]")
            if character == "," and depth <= 0:
                if item.strip():
                    separated.append(item.strip())
                item = ""
            else:
                item += character
        if item.strip(" ,"):
            raise ConfigError("a list with closed brackets", repr(text), "close the bracket")
    return list(dict.fromkeys(separated))


def whole(text: str, expected: str, remedy: str, *, least: int = 0, most: int) -> int:
    """A whole number from `least` to `most`; else ConfigError says what was `expected`."""
    # int() refuses 4,300 digits and more, with its own message
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and least <= int(text) <= most):
        raise ConfigError(expected, repr(text) if len(text) <= 40 else f"{len(text)} characters", remedy)
    return int(text)


def resolutions(text: str) -> list[tuple[int, int]]:
    """(H, W) of every item: `224` is (224, 224), `224x320` is 224 rows of 320 pixels. Sides are at least 1."""
    pairs = []
    for item in items(text):
        sides = item.lower().split("x")
        if len(sides) > 2 or not all(side.isascii() and side.isdigit() for side in sides):
            raise ConfigError("a resolution such as 224 or 224x320", repr(item), "change --resolution")
        expected = f"a resolution of at most {LARGEST}"
        height, width = (whole(side, expected, "change --resolution", most=LARGEST) for side in (sides[0], sides[-1]))
        if min(height, width) < SMALLEST:
            raise ConfigError(f"a resolution of at least {SMALLEST}", repr(item), "change --resolution")
        pairs.append((height, width))
    if not pairs:
        raise ConfigError("a resolution such as 224 or 224x320", repr(text), "change --resolution")
    return pairs


def scale(text: str) -> str:
    """A scale by name."""
    if text not in SCALE_NAMES:
        raise UnknownNameError("scale", text, SCALE_NAMES)
    return text


def dtypes(text: str) -> list[str]:
    """Names out of fp32, tf32, bf16, fp16."""
    names = items(text)
    for name in names or [text]:
        if name not in DTYPE_NAMES:
            raise UnknownNameError("dtype", name, DTYPE_NAMES)
    return names


def device(text: str, *, elsewhere: bool = False) -> str:
    """A device that this machine has; `auto` is the first CUDA device, or the CPU. Asks torch if there may be a GPU.

    With `elsewhere` other machines do the work: they may have the GPU that this one has not.
    """
    kind, _, index = text.partition(":")
    known = ["auto", "cpu", "cuda"]
    if kind not in known or (
        index and (kind != "cuda" or not (index.isascii() and index.isdigit() and len(index) < 10))
    ):
        raise UnknownNameError("device", text, known)
    count = 0 if kind == "cpu" else _gpus()
    if kind == "auto":
        return "cuda" if count else "cpu"
    if elsewhere and text == "cuda":
        return text
    if kind == "cuda" and int(index or 0) >= count:
        raise ConfigError("a device of this machine", f"{text!r} with {count} CUDA devices", "use --device cpu")
    return text


def _gpus() -> int:
    from stmbench.measure.environment import may_have_gpu

    if not may_have_gpu():
        return 0
    import torch

    return torch.cuda.device_count()
