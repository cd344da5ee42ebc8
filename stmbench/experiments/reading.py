"""From an experiment file to an `Experiment`; every complaint names the file and the line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_type_hints

from stmbench.architectures.model_names import TIMM, ModelName, is_pattern
from stmbench.bundled import published_columns, published_names
from stmbench.errors import ConfigError, InputError, StmbenchError, UnknownNameError
from stmbench.experiments.experiment import (
    DataLines,
    Experiment,
    ModelLine,
    PublishedLines,
    RefusedKeyError,
    TrainingLines,
)
from stmbench.experiments.remembered import remembered
from stmbench.experiments.steps import read_step
from stmbench.experiments.yaml_values import SourceValue, convert, read_lines, typed

MINI, INCLUDE = "mini", "include"
DEEPEST, MOST = 8, 64  # files that include one another, and files in all
OWN = ("name", "miniature")  # fields of Experiment that a file does not set
KEYS = (*(field.name for field in dataclasses.fields(Experiment) if field.name not in OWN), MINI, INCLUDE)


def read_experiment(path: str | Path, *, mini: bool = False) -> Experiment:
    """The experiment in a file.

    Args:
        mini: its miniature: what the file has under `mini` takes the place of the keys beside it.

    Raises:
        InputError: no such file, or one without a miniature. ConfigError, UnknownNameError: anything in it that makes
            no sense, with its line.
    """
    return _experiment(Path(path), _chosen(Path(path), mini), mini)


def plugins_of(path: str | Path, *, mini: bool = False) -> list[Path]:
    """The plug-in files that an experiment names, beside the file that names them; not run, and no value of another key
    is looked at."""
    named = _chosen(Path(path), mini).get("plugins")
    if named is None:
        return []
    return [named.file.parent / name for name in convert(named, tuple[str, ...], "`plugins`")]


def files_of(path: str | Path) -> list[Path]:
    """The file itself, and those that it includes, directly or not. Raises as `read_experiment` does."""
    seen: list[Path] = []
    merged(Path(path), seen=seen)
    return seen


def merged(path: Path, before: tuple[Path, ...] = (), seen: list[Path] | None = None) -> dict[str, SourceValue]:
    """The keys of a file and of what it includes; its own win.

    Raises:
        InputError: no such file. ConfigError: files that include each other, one that is not there, or too many.
    """
    own, seen = read_lines(path), [] if seen is None else seen
    seen.append(path)
    _known(own.value, KEYS)
    keys: dict[str, SourceValue] = {}
    before = (*before, path.resolve())
    for item in _items(own.value[INCLUDE]) if INCLUDE in own.value else ():
        included = path.parent / convert(item, str, f"`{INCLUDE}`")
        place = included.resolve()
        if place in before:
            circle = " -> ".join(step.name for step in (*before[before.index(place) :], place))
            got = f"{circle} in {item.place}"
            raise ConfigError("files that include others in one direction", got, "remove one `include`")
        if not included.is_file():
            raise ConfigError(f"the file included in {item.place}", f"none at {included}", "correct the path")
        if len(before) >= DEEPEST or len(seen) >= MOST:  # twice the next one, in each of 30 files, is a billion
            expected = f"at most {DEEPEST} files that include one another, and {MOST} in all, in {item.place}"
            raise ConfigError(expected, "more", "put them together")
        keys |= merged(included, before, seen)
    return {**keys, **{key: item for key, item in own.value.items() if key != INCLUDE}}


def _chosen(path: Path, mini: bool) -> dict[str, SourceValue]:
    """The keys of the experiment, or of its miniature, which is not compared with what the experiment is."""
    keys = merged(path)
    small = keys.pop(MINI, None)
    if small is not None:
        if not isinstance(small.value, dict):
            raise ConfigError(f"keys and values under `mini` in {small.place}", repr(small.plain), "correct it")
        _known(small.value, tuple(key for key in KEYS if key not in (MINI, INCLUDE)))
    if not mini:
        return keys
    if small is None:
        raise InputError(f"a miniature in {path.name}", "a file without the key `mini`", "run it without --mini")
    return {**{key: item for key, item in keys.items() if key != "published"}, **small.value}


def _experiment(path: Path, keys: dict[str, SourceValue], mini: bool) -> Experiment:
    hints = get_type_hints(Experiment)
    values: dict[str, Any] = {"name": path.stem, "miniature": mini}
    for required in ("title", "models"):
        if required not in keys:
            raise ConfigError(f"`{required}:` in {path.name}", "none", "add it, see experiments/README.md")
    for key, item in keys.items():
        match key:
            case "models":
                values[key] = tuple(_models(item))
            case "analyses":
                values[key] = tuple(read_step(line) for line in _items(item))
            case "data":
                values[key] = None if item.value is None else typed(item, DataLines, "the data")
            case "training":
                values[key] = typed(item, TrainingLines, "the training")
            case "published":
                values[key] = tuple(_published(line) for line in _items(item))
            case _:
                values[key] = convert(item, hints[key], f"`{key}`")
    try:
        return Experiment(**values)
    except RefusedKeyError as error:
        where = f"{keys[error.key].key_place}" if error.key in keys else path.name
        raise ConfigError(f"{error.expected} in {where}", error.got, error.remedy) from error


def _models(source: SourceValue) -> list[ModelLine]:
    lines = []
    for item in _items(source):
        line = typed(item, ModelLine, "the model") if isinstance(item.value, dict) else None
        text = line.model if line else convert(item, str, "a model")
        try:
            names = _named(text)
        except StmbenchError as error:
            remedy = getattr(error, "remedy", "correct it")
            raise ConfigError(f"a model in {item.place}", repr(text), remedy) from error
        lines += [dataclasses.replace(line, model=name) if line else ModelLine(model=name) for name in names]
    return lines


def _named(text: str) -> tuple[str, ...]:
    """A model by name, or those that a pattern matches. Raises what `by_name` raises."""
    if not is_pattern(text) and "[" not in text:
        return (ModelName.parse(text).text,)  # without torch

    def found() -> list[str]:
        from stmbench.analyses.models import by_name

        return [*by_name([text])]

    if is_pattern(text) or text.startswith(TIMM):  # of which a user may have registered more
        return tuple(found())
    ModelName.parse(text)  # refuses names of nothing
    return tuple(remembered("model", text, found))


def _published(source: SourceValue) -> PublishedLines:
    lines = typed(source, PublishedLines, "the published table")
    if lines.table not in published_names():
        raise UnknownNameError(f"published table in {source.value['table'].place}", lines.table, published_names())
    known = published_columns(lines.table)
    for key in ("columns", "where"):
        for name, item in source.value[key].value.items() if key in source.value else ():
            if name not in known:
                raise UnknownNameError(f"column of {lines.table} in {item.key_place}", name, known)
    return lines


def _items(source: SourceValue) -> list[SourceValue]:
    return source.value if isinstance(source.value, list) else [source]


def _known(keys: dict[str, SourceValue], known: tuple[str, ...]) -> None:
    for key, item in keys.items():
        if key not in known:
            raise UnknownNameError(f"key in {item.key_place}", key, known)
