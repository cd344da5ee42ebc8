"""From an experiment file to an `Experiment`; every complaint names the file and the line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from stmbench.analyses.selection import by_name
from stmbench.errors import ConfigError, InputError, StmbenchError, UnknownNameError
from stmbench.sweeps.experiment import DataLines, Experiment, ModelLine, PublishedLines, TrainingLines
from stmbench.sweeps.kinds import KINDS, Kind
from stmbench.sweeps.lines import Located, read_lines
from stmbench.sweeps.typed import convert, typed
from stmbench.tables.published import published, published_names

MINI, INCLUDE = "mini", "include"
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
    path = Path(path)
    keys = merged(path)
    small = keys.pop(MINI, None)
    if mini:
        if small is None:
            raise InputError(f"a miniature in {path.name}", "a file without the key `mini`", "run it without --mini")
        if not isinstance(small.value, dict):
            raise ConfigError(f"keys and values under `mini` in {small.place}", repr(small.plain), "correct it")
        _known(small.value, tuple(key for key in KEYS if key not in (MINI, INCLUDE)))
        keys = {**{key: item for key, item in keys.items() if key != "published"}, **small.value}
    return _experiment(path, keys, mini)


def plugins_of(path: str | Path) -> list[Path]:
    """The plug-in files that an experiment names, beside the file; not run, and no other key is looked at."""
    found = merged(Path(path)).get("plugins")
    names = () if found is None else convert(found, tuple[str, ...], "plugins")
    return [Path(path).parent / name for name in names]


def merged(path: Path, before: tuple[Path, ...] = ()) -> dict[str, Located]:
    """The keys of a file and of what it includes; its own win. Raises ConfigError for files that include each other."""
    place = path.resolve()
    if place in before:
        circle = " -> ".join(item.name for item in (*before[before.index(place) :], place))
        raise ConfigError("files that include others in one direction", circle, "remove one `include`")
    found = read_lines(path)
    _known(found.value, KEYS)
    keys: dict[str, Located] = {}
    included = found.value.get(INCLUDE)
    if included is not None:
        for name in convert(included, tuple[str, ...], INCLUDE):
            try:
                keys |= merged(path.parent / name, (*before, place))
            except InputError as error:
                if isinstance(error, ConfigError | UnknownNameError):
                    raise
                raise InputError(f"the file included in {included.place}", error.got, "correct the path") from error
    return {**keys, **{key: item for key, item in found.value.items() if key != INCLUDE}}


def _experiment(path: Path, keys: dict[str, Located], mini: bool) -> Experiment:
    values: dict[str, Any] = {"name": path.stem, "miniature": mini}
    for required in ("title", "models"):
        if required not in keys:
            raise ConfigError(f"`{required}:` in {path.name}", "none", "add it, see experiments/README.md")
    for key, item in keys.items():
        match key:
            case "models":
                values[key] = tuple(_models(item))
            case "analyses":
                values[key] = tuple(_analysis(line) for line in _items(item))
            case "data":
                values[key] = None if item.value is None else typed(item, DataLines, "the data")
            case "training":
                values[key] = typed(item, TrainingLines, "the training")
            case "published":
                values[key] = tuple(_published(line) for line in _items(item))
            case _:
                hints = {"seeds": tuple[int, ...], "plugins": tuple[str, ...]}
                kind = hints.get(key, str if key != "control" else str | None)
                values[key] = convert(item, kind, f"`{key}`")
    for key, known in (("weights", ("random", "trained", "files")), ("device", ("any", "cuda"))):
        if key in values and values[key] not in known:
            raise UnknownNameError(f"value of `{key}` in {keys[key].place}", values[key], known)
    try:
        return Experiment(**values)
    except StmbenchError as error:
        raise ConfigError(f"an experiment in {path.name} that makes sense", f"one that is refused ({error})",
                          "correct the file") from error  # fmt: skip


def _models(found: Located) -> list[ModelLine]:
    lines = []
    for item in _items(found):
        line = typed(item, ModelLine, "the model") if isinstance(item.value, dict) else None
        text = line.model if line else convert(item, str, "a model")
        try:
            names = by_name([text])
        except StmbenchError as error:
            remedy = getattr(error, "remedy", "correct it")
            raise ConfigError(f"a model in {item.place}", repr(text), remedy) from error
        lines += [dataclasses.replace(line, model=name) if line else ModelLine(model=name) for name in names]
    return lines


def _analysis(found: Located) -> Kind:
    """`erf`, or `{analysis: erf, num_images: 50}`."""
    if isinstance(found.value, str):
        found = dataclasses.replace(found, value={"analysis": found})
    if not isinstance(found.value, dict) or "analysis" not in found.value:
        raise ConfigError(f"`analysis: NAME` in {found.place}", repr(found.plain), f"name one of {', '.join(KINDS)}")
    name = found.value["analysis"]
    if name.value not in KINDS:
        raise UnknownNameError(f"analysis in {name.place}", str(name.value), KINDS)
    rest = {key: item for key, item in found.value.items() if key != "analysis"}
    return typed(dataclasses.replace(found, value=rest), KINDS[name.value], f"the analysis {name.value}")


def _published(found: Located) -> PublishedLines:
    lines = typed(found, PublishedLines, "the published table")
    place = found.value["table"].place
    if lines.table not in published_names():
        raise UnknownNameError(f"published table in {place}", lines.table, published_names())
    known = list(published(lines.table).columns)
    for name in (*lines.columns, *lines.where):
        if name not in known:
            raise UnknownNameError(f"column of {lines.table} in {found.place}", name, known)
    return lines


def _items(found: Located) -> list[Located]:
    return found.value if isinstance(found.value, list) else [found]


def _known(keys: dict[str, Located], known: tuple[str, ...]) -> None:
    for key, item in keys.items():
        if key not in known:
            raise UnknownNameError(f"key in {item.place}", key, known)
