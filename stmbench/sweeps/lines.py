"""YAML that remembers its lines, so that a mistake in a file can be named by the place where it stands."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from stmbench.errors import ConfigError, InputError


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
        InputError: no such file. ConfigError: not YAML, no mapping, or a key that stands there twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        got = getattr(error, "strerror", None) or "a file that is not text"
        raise InputError("an experiment file", f"{path} ({got})", "correct the path") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "something else"
        raise ConfigError(f"YAML in {path.name}", f"{problem}{where}", "correct that line") from error
    if node is None or not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"keys and values in {path.name}", "none", "begin with `title:`, see experiments/README.md")
    return _located(node, path, node.start_mark.line + 1, ())


def _located(node: yaml.Node, file: Path, key_line: int, within: tuple[yaml.Node, ...]) -> Located:
    """`within`: the nodes that this one is part of, itself among them where an alias makes a circle."""
    line = node.start_mark.line + 1
    if any(node is other for other in within):
        raise ConfigError(
            f"values that do not hold themselves in {file.name}", f"one in line {line}", "remove an alias"
        )
    within = (*within, node)
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Located] = {}
        for key_node, value_node in node.value:
            here = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(
                    f"a word as a key in line {here} of {file.name}", "a collection", "write `key: value`"
                )
            key = str(key_node.value)
            if key in found:
                got = f"a second one in line {here}"
                raise ConfigError(f"the key {key!r} once in {file.name}", got, "remove one of them")
            found[key] = _located(value_node, file, here, within)
        return Located(value=found, file=file, line=line, key_line=key_line)
    if isinstance(node, yaml.SequenceNode):
        items = [_located(item, file, item.start_mark.line + 1, within) for item in node.value]
        return Located(value=items, file=file, line=line, key_line=key_line)
    loader = yaml.SafeLoader("")
    try:
        value = loader.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(
            f"a plain value in line {line} of {file.name}", str(node.value), "put it in quotes"
        ) from error
    finally:
        loader.dispose()
    return Located(value=value, file=file, line=line, key_line=key_line)
