"""YAML that remembers its lines, so that a mistake in a file can be named by the place where it stands."""

from __future__ import annotations

import dataclasses
import functools
import re
import stat
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from stmbench.errors import ConfigError, InputError, StmbenchError, UnknownNameError

# An experiment has some hundred values in a few levels. Beyond these a file is a mistake, or meant to fill the memory.
LONGEST, DEEPEST, MOST = 200_000, 30, 10_000  # characters, levels, values with those that aliases repeat
LARGEST = 2**63 - 1  # what a column of the table holds


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceValue:
    """A value and the place that it came from. In `value` mappings hold SourceValue values, and so do lists.

    `line` is where the value begins; `key_line` where its key stands, if it has one.
    """

    value: Any
    file: Path
    line: int
    key_line: int

    @property
    def place(self) -> str:
        """'line 12 of quickstart.yaml'."""
        return f"line {self.line} of {self.file.name}"

    @property
    def key_place(self) -> str:
        """The same of the key."""
        return f"line {self.key_line} of {self.file.name}"

    @property
    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: item.plain for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain for item in self.value]
        return self.value


def read_lines(path: Path) -> SourceValue:
    """The mapping in a YAML file; a scalar is what YAML's safe schema makes of it.

    Raises:
        InputError: no such file. ConfigError: not YAML, no mapping, a key that stands there twice, or more than an
            experiment can hold.
    """
    return _parsed(path, _text(path))


@functools.lru_cache(maxsize=64)  # a plan asks a file for its plug-ins before it reads the rest
def _parsed(path: Path, text: str) -> SourceValue:
    try:
        _require_shallow(text, path)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        where = f" in line {line}" if (line := _line_of(error, text)) else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "something else"
        raise ConfigError(f"YAML in {path.name}", f"{problem}{where}", "correct that line") from error
    if node is None or not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"keys and values in {path.name}", "none", "begin with `title:`, see experiments/README.md")
    return _Locator(path).located(node, node.start_mark.line + 1, ())


def _text(path: Path) -> str:
    try:
        # a pipe would be waited for, and a device read without end
        if not stat.S_ISREG((facts := path.stat()).st_mode) and not stat.S_ISDIR(facts.st_mode):
            raise InputError("an experiment file", f"{path} (a pipe or a device)", "correct the path")
        if facts.st_size > 4 * LONGEST:
            raise InputError(f"an experiment file of at most {LONGEST} characters", f"{path}", "correct the path")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        got = getattr(error, "strerror", None) or "a file that is not text"
        raise InputError("an experiment file", f"{path} ({got})", "correct the path") from error
    if len(text) > LONGEST:
        raise InputError(f"an experiment file of at most {LONGEST} characters", f"{path}", "correct the path")
    return text


def _require_shallow(text: str, path: Path) -> None:
    """Refuse nesting that nobody means: what is made of it would run out of stack. Raises ConfigError."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            assert event.start_mark is not None
            got = f"more in line {event.start_mark.line + 1}"
            raise ConfigError(f"at most {DEEPEST} levels in {path.name}", got, "correct that line")


def _line_of(error: yaml.YAMLError, text: str) -> int | None:
    mark, position = getattr(error, "problem_mark", None), getattr(error, "position", None)
    if mark is not None:
        return int(mark.line) + 1
    return None if position is None else text.count("\n", 0, position) + 1


class _Locator:
    """Turns the nodes of one file into located values, and counts them: ten aliases in nine levels are a billion."""

    def __init__(self, file: Path) -> None:
        self.file, self._count = file, 0

    def located(self, node: yaml.Node, key_line: int, within: tuple[yaml.Node, ...]) -> SourceValue:
        """`within`: the nodes that this one is part of, itself among them where an alias makes a circle."""
        line, name = node.start_mark.line + 1, self.file.name
        if any(node is other for other in within):
            raise ConfigError(f"values that do not hold themselves in {name}", f"one in line {line}", "remove an alias")
        self._count += 1
        if self._count > MOST:
            raise ConfigError(f"at most {MOST} values in {name}", f"more from line {line} on", "remove aliases")
        within = (*within, node)
        value: Any
        if isinstance(node, yaml.MappingNode):
            value = self._mapping(node, within)
        elif isinstance(node, yaml.SequenceNode):
            value = [self.located(item, item.start_mark.line + 1, within) for item in node.value]
        else:
            value = self._scalar(node, line)
        return SourceValue(value=value, file=self.file, line=line, key_line=key_line)

    def _mapping(self, node: yaml.MappingNode, within: tuple[yaml.Node, ...]) -> dict[str, SourceValue]:
        located: dict[str, SourceValue] = {}
        for key_node, value_node in node.value:
            here, name = key_node.start_mark.line + 1, self.file.name
            if not isinstance(key_node, yaml.ScalarNode):
                expected = f"a word as a key in line {here} of {name}"
                raise ConfigError(expected, "a collection", "write `key: value`")
            key = str(key_node.value)
            if key in located:
                got = f"a second one in line {here}"
                raise ConfigError(f"the key {key!r} once in {name}", got, "remove one of them")
            located[key] = self.located(value_node, here, within)
        return located

    def _scalar(self, node: yaml.Node, line: int) -> Any:
        loader, where = yaml.SafeLoader(""), f"in line {line} of {self.file.name}"
        try:
            value = loader.construct_object(node, deep=True)
        # a tag of a kind that the text is not of (`!!bool x`) meets whatever the constructor runs into
        except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
            raise ConfigError(f"a plain value {where}", str(node.value), "put it in quotes") from error
        finally:
            loader.dispose()
        if isinstance(value, int) and abs(value) > LARGEST:
            raise ConfigError(f"a number of at most 19 digits {where}", str(node.value), "correct it")
        return value


T = TypeVar("T")
WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "nothing"}


def typed(source: SourceValue, kind: type[T], what: str) -> T:
    """An instance of the dataclass `kind` from a mapping.

    Args:
        what: what the mapping is called in messages: 'the training'.

    Raises:
        ConfigError: a value of another type, a missing key, or one that the dataclass refuses. UnknownNameError: a key
            that is no field, with the nearest ones.
    """
    if not isinstance(source.value, dict):
        raise ConfigError(f"keys and values of {what} in {source.place}", _shown(source), "write `key: value` there")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, item in source.value.items():
        if key not in fields:
            raise UnknownNameError(f"key of {what} in {item.key_place}", key, fields)
        values[key] = convert(item, hints[key], f"{key} of {what}")
    for name, field in fields.items():
        if name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{name} of {what}, which begins in {source.place}", "none", f"add `{name}:`")
    return made(lambda: kind(**values), source, what)


def made(make: Callable[[], T], source: SourceValue, what: str) -> T:
    """What `make` makes; what it refuses is said with the line, and options by their keys: `num_images`."""
    try:
        return make()
    except StmbenchError as error:
        if isinstance(error, InputError):
            got = f"{error.got} ({what} in {source.place})"
            raise ConfigError(_with_keys(error.expected), _with_keys(got), _with_keys(error.remedy)) from error
        raise ConfigError(f"a valid {what} in {source.place}", _with_keys(str(error)), "correct it") from error


def _with_keys(text: str) -> str:
    """'change --num-images' -> 'change `num_images`'."""
    return re.sub(r"--([a-z][a-z-]*)", lambda match: f"`{match[1].replace('-', '_')}`", text)


def convert(source: SourceValue, kind: Any, what: str) -> Any:
    """The value as a type of a field: str, int, float, bool, tuple[X, ...], Mapping[str, X], Literal, a dataclass, or
    a union of these."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _one_of(source, arguments, what)
    if origin is Literal:
        if source.value in arguments:
            return source.value
        raise UnknownNameError(f"{what} in {source.place}", str(source.plain), map(str, arguments))
    if origin is tuple:
        items = source.value if isinstance(source.value, list) else [source]  # one item may stand without brackets
        if arguments[-1] is not Ellipsis and len(items) != len(arguments):
            raise ConfigError(
                f"{len(arguments)} values for {what} in {source.place}", _shown(source), "correct the list"
            )
        inner = arguments[0]
        return tuple(convert(item, inner, what) for item in items)
    if origin in (dict, Mapping) or origin is types.MappingProxyType or kind is Mapping:
        if not isinstance(source.value, dict):
            raise ConfigError(f"keys and values for {what} in {source.place}", _shown(source), "write `{key: value}`")
        return {key: convert(item, arguments[1], f"{key} of {what}") for key, item in source.value.items()}
    if kind is Any:
        return source.plain
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return typed(source, kind, what)
    return _scalar(source, kind, what)


def _scalar(source: SourceValue, kind: Any, what: str) -> Any:
    value = source.value
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
    raise ConfigError(f"{WORDS.get(kind, kind.__name__)} for {what} in {source.place}", _shown(source), "correct it")


def _one_of(source: SourceValue, kinds: tuple[Any, ...], what: str) -> Any:
    """The first kind that fits; where none does, the complaint of the one that was most likely meant."""
    if source.value is None and type(None) in kinds:
        return None
    wanted = [kind for kind in kinds if kind is not type(None)]
    likely = [kind for kind in wanted if dataclasses.is_dataclass(kind) == isinstance(source.value, dict)] or wanted
    for kind in likely[:-1]:
        try:
            return convert(source, kind, what)
        except ConfigError:
            continue
    return convert(source, likely[-1], what)


def _shown(source: SourceValue) -> str:
    text = repr(source.plain)
    return text if len(text) <= 60 else f"{text[:57]}..."
