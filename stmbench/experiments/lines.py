"""YAML that remembers its lines, so that a mistake in a file can be named by the place where it stands."""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path
from typing import Any

import yaml

from stmbench.errors import ConfigError, InputError

# An experiment has some hundred values in a few levels. Beyond these a file is a mistake, or meant to fill the memory.
LONGEST, DEEPEST, MOST = 200_000, 30, 10_000  # characters, levels, values with those that aliases repeat
LARGEST = 2**63 - 1  # what a column of the table holds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Located:
    """A value and the place that it came from. In `value` mappings hold Located values, and so do lists.

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


def read_lines(path: Path) -> Located:
    """The mapping in a YAML file; a scalar is what YAML's safe schema makes of it.

    Raises:
        InputError: no such file. ConfigError: not YAML, no mapping, a key that stands there twice, or more than an
            experiment can hold.
    """
    text = _text(path)
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

    def located(self, node: yaml.Node, key_line: int, within: tuple[yaml.Node, ...]) -> Located:
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
        return Located(value=value, file=self.file, line=line, key_line=key_line)

    def _mapping(self, node: yaml.MappingNode, within: tuple[yaml.Node, ...]) -> dict[str, Located]:
        found: dict[str, Located] = {}
        for key_node, value_node in node.value:
            here, name = key_node.start_mark.line + 1, self.file.name
            if not isinstance(key_node, yaml.ScalarNode):
                expected = f"a word as a key in line {here} of {name}"
                raise ConfigError(expected, "a collection", "write `key: value`")
            key = str(key_node.value)
            if key in found:
                got = f"a second one in line {here}"
                raise ConfigError(f"the key {key!r} once in {name}", got, "remove one of them")
            found[key] = self.located(value_node, here, within)
        return found

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
