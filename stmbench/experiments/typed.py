"""From a file's mappings to dataclasses, as their fields' types say; what does not fit is named with its line."""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from stmbench.errors import ConfigError, InputError, StmbenchError, UnknownNameError
from stmbench.experiments.lines import Located

T = TypeVar("T")
WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "nothing"}


def typed(found: Located, kind: type[T], what: str) -> T:
    """An instance of the dataclass `kind` from a mapping.

    Args:
        what: what the mapping is called in messages: 'the training'.

    Raises:
        ConfigError: a value of another type, a missing key, or one that the dataclass refuses. UnknownNameError: a key
            that is no field, with the nearest ones.
    """
    if not isinstance(found.value, dict):
        raise ConfigError(f"keys and values of {what} in {found.place}", _shown(found), "write `key: value` there")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, item in found.value.items():
        if key not in fields:
            raise UnknownNameError(f"key of {what} in {item.key_place}", key, fields)
        values[key] = convert(item, hints[key], f"{key} of {what}")
    for name, field in fields.items():
        if name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{name} of {what}, which begins in {found.place}", "none", f"add `{name}:`")
    return made(lambda: kind(**values), found, what)


def made(make: Callable[[], T], found: Located, what: str) -> T:
    """What `make` makes; what it refuses is said with the line, and options by their keys: `num_images`."""
    try:
        return make()
    except StmbenchError as error:
        if isinstance(error, InputError):
            got = f"{error.got} ({what} in {found.place})"
            raise ConfigError(_with_keys(error.expected), _with_keys(got), _with_keys(error.remedy)) from error
        raise ConfigError(f"a valid {what} in {found.place}", _with_keys(str(error)), "correct it") from error


def _with_keys(text: str) -> str:
    """'change --num-images' -> 'change `num_images`'."""
    return re.sub(r"--([a-z][a-z-]*)", lambda match: f"`{match[1].replace('-', '_')}`", text)


def convert(found: Located, kind: Any, what: str) -> Any:
    """The value as a type of a field: str, int, float, bool, tuple[X, ...], Mapping[str, X], Literal, a dataclass, or
    a union of these."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _one_of(found, arguments, what)
    if origin is Literal:
        if found.value in arguments:
            return found.value
        raise UnknownNameError(f"{what} in {found.place}", str(found.plain), map(str, arguments))
    if origin is tuple:
        items = found.value if isinstance(found.value, list) else [found]  # one item may stand without brackets
        if arguments[-1] is not Ellipsis and len(items) != len(arguments):
            raise ConfigError(f"{len(arguments)} values for {what} in {found.place}", _shown(found), "correct the list")
        inner = arguments[0]
        return tuple(convert(item, inner, what) for item in items)
    if origin in (dict, Mapping) or origin is types.MappingProxyType or kind is Mapping:
        if not isinstance(found.value, dict):
            raise ConfigError(f"keys and values for {what} in {found.place}", _shown(found), "write `{key: value}`")
        return {key: convert(item, arguments[1], f"{key} of {what}") for key, item in found.value.items()}
    if kind is Any:
        return found.plain
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return typed(found, kind, what)
    return _scalar(found, kind, what)


def _scalar(found: Located, kind: Any, what: str) -> Any:
    value = found.value
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is float and isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
        try:
            return float(value)
        except ValueError:
            pass
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{WORDS.get(kind, kind.__name__)} for {what} in {found.place}", _shown(found), "correct it")


def _one_of(found: Located, kinds: tuple[Any, ...], what: str) -> Any:
    """The first kind that fits; where none does, the complaint of the one that was most likely meant."""
    if found.value is None and type(None) in kinds:
        return None
    wanted = [kind for kind in kinds if kind is not type(None)]
    likely = [kind for kind in wanted if dataclasses.is_dataclass(kind) == isinstance(found.value, dict)] or wanted
    for kind in likely[:-1]:
        try:
            return convert(found, kind, what)
        except ConfigError:
            continue
    return convert(found, likely[-1], what)


def _shown(found: Located) -> str:
    text = repr(found.plain)
    return text if len(text) <= 60 else f"{text[:57]}..."
