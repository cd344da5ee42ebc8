"""Values of a config's fields: read as the field's type wants them, and refused where they are of another."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from stmbench.errors import ConfigError

WORDS = {int: "a whole number", float: "a number", str: "a text"}


def require_types(config: object, remedy: str) -> None:
    """Check each field of a dataclass against its annotation: numbers, text, choices, tuples of them, or None.

    Raises:
        ConfigError: the first field whose value is of another type, or a number that is not finite.
    """
    for name, hint in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        if not _fits(value, hint):
            raise ConfigError(f"{name} as {_words(hint)}", repr(value), remedy)


def read(values: Mapping[str, Any], config: type) -> dict[str, Any]:
    """Values as YAML gives them: lists for tuples, and numbers such as 1e-3, which YAML takes for text."""
    hints = typing.get_type_hints(config)
    return {name: _read(value, hints[name]) for name, value in values.items()}


def _read(value: Any, hint: Any) -> Any:
    if isinstance(value, list):
        return tuple(_read(item, float) for item in value)
    if isinstance(value, str) and float in _choices(hint):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _choices(hint: Any) -> tuple[Any, ...]:
    """The parts of `A | B`; a hint that is no union by itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)


def _fits(value: Any, hint: Any) -> bool:
    return any(_is_a(value, choice) for choice in _choices(hint))


def _is_a(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return value in arguments
    if origin is tuple:
        return isinstance(value, tuple) and len(value) == len(arguments) and all(map(_is_a, value, arguments))
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, (int, float)) and math.isfinite(value)
    return isinstance(value, hint)


def _words(hint: Any) -> str:
    """What a value should be, for a message."""
    if hint is type(None):
        return "null"
    if len(_choices(hint)) > 1:
        return " or ".join(_words(choice) for choice in _choices(hint))
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return f"one of {', '.join(arguments)}"
    if arguments:
        return f"a list of {len(arguments)} numbers"
    return WORDS.get(hint, str(hint))
