"""Which models a command means: by name and pattern, or by mixer, scale and architecture."""

from __future__ import annotations

from collections.abc import Sequence

from stmbench.architectures.base import ARCHITECTURES
from stmbench.architectures.catalog import ModelName, is_pattern, list_models
from stmbench.errors import UnknownNameError
from stmbench.mixers.base import MIXERS


def by_name(names: Sequence[str]) -> tuple[str, ...]:
    """Models by name; `*`, `?` outside brackets make a shell pattern. Raises UnknownNameError for what matches none."""
    found: list[str] = []
    for name in names:
        if is_pattern(name):
            matches = list_models(name)
            if not matches:
                raise UnknownNameError("model or a pattern that matches one", name, list_models())
            found += matches
        else:
            found.append(ModelName.parse(name).text)
    return tuple(dict.fromkeys(found))


def by_scale(scale: str, *, mixers: Sequence[str] = (), architecture: str = "unified") -> tuple[str, ...]:
    """The models of one scale, of the mixers named, or else of the architecture's own and of all plug-ins.

    Raises UnknownNameError for an unknown architecture or mixer.
    """
    entry = ARCHITECTURES.get(architecture)
    plugins = [name for name in MIXERS if MIXERS.get(name).plugin_sha256]
    chosen = [name for name in mixers if MIXERS.get(name)] or [*entry.mixers, *plugins]
    return tuple(ModelName.parse(f"{architecture}_{mixer}_{scale}").text for mixer in dict.fromkeys(chosen))
