"""What Python code gives (modules, tensors, lists, files by model) turned into what an analysis takes."""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, get_type_hints

from stmbench.analyses.options import Options, RunSettings, element_type, scalar_type
from stmbench.errors import ConfigError, InputError

if TYPE_CHECKING:
    from torch import nn

    from stmbench.architectures.module_copies import GivenModel
    from stmbench.checkpoints.selection import Checkpoint

    Model = Union[str, nn.Module, GivenModel]  # noqa: UP007 - evaluated by tools on Python 3.10
    Models = Union[Model, Sequence[Model]]  # noqa: UP007


def public(name: str, kind: type[Options] | None) -> str:
    """The keyword of an option: `images` stands for the data set, as people say."""
    return "images" if name == "dataset" and kind is not None and kind.needs_images else name


def values(own: Mapping[str, Any], kind: type[Options]) -> dict[str, Any]:
    """Options as the dataclass has them: one value for a tuple, images given as objects by the name they get."""
    hints, values = get_type_hints(kind), dict(own)
    for name, value in values.items():
        if scalar_type(hints[name]) is Path and isinstance(value, str):
            values[name] = Path(value)
        if element_type(hints[name]) is not None and value is not None:
            values[name] = tuple(value) if isinstance(value, (list, tuple, range)) else (value,)
    if kind.needs_images and "dataset" in values and not isinstance(values["dataset"], str):
        given = values["dataset"]
        if isinstance(given, Path):
            values["dataset"] = str(given)
        else:
            from stmbench.data.given_images import data_name_of

            labels = values.get("labels")
            if isinstance(labels, (str, Path)):
                raise ConfigError(
                    "labels as a list or tensor with images given as objects", repr(labels), "give a list"
                )
            values["dataset"] = data_name_of(given, labels=values.pop("labels", None), limit=values.get("num_images"))
    if not isinstance(values.get("labels"), (str, Path, type(None))):
        raise ConfigError("a CSV file as labels of a folder", type(values["labels"]).__name__, "give its path")
    return values


def settings(models: Models, kind: type[Options], asked: Mapping[str, Any]) -> RunSettings:
    from stmbench.analyses.models import by_name, by_scale
    from stmbench.architectures.given_models import model_name_of
    from stmbench.plugins import load_plugins, loaded_paths

    load_plugins([Path(file) for file in listed(asked["plugins"])])
    names = by_name([model_name_of(model) for model in listed(models)])
    names = names or by_scale(asked["scale"], mixers=listed(asked["mixers"]), architecture=asked["architecture"])
    if asked["match"] is not None:
        from stmbench.analyses.match import match

        names = match(names, asked["match"]).names
    return RunSettings(
        models=names,
        checkpoints=_checkpoints(names, asked["checkpoint"]) if kind.needs_images else {},
        seed=asked["seed"],
        device=_device(asked["device"]),
        plugins=tuple(str(path) for path in loaded_paths()),
    )


def _checkpoints(names: Sequence[str], given: Any) -> dict[str, Path | Checkpoint]:
    from stmbench.checkpoints.selection import Checkpoint

    if given is None:
        return {}
    if not isinstance(given, Mapping):
        if len(names) != 1:
            raise ConfigError("{model name: file} for several models", repr(given), "name the model of each file")
        given = {names[0]: given}
    return {
        str(model): file if isinstance(file, Checkpoint) else Checkpoint.parse(str(file))
        for model, file in given.items()
    }


def _device(name: str) -> str:
    from stmbench.commands.values import device

    return device(name)


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, set, dict)) else [value]


def in_python(error: InputError, kind: type[Options] | None = None) -> InputError:
    """The error, now with options by their Python names: `num_images` instead of `--num-images`."""
    parts = error.expected, error.got, error.remedy
    error.expected, error.got, error.remedy = (python_names(text, kind) for text in parts)
    error.args = (python_names(str(error), kind),)
    return error


def python_names(text: str, kind: type[Options] | None = None) -> str:
    """A sentence with options as Python has them: `num_images` in place of `--num-images`."""

    def renamed(match: re.Match[str]) -> str:
        name = match[1].replace("-", "_")
        return f"`{'plugins' if name == 'plugin' else public(name, kind)}`"

    return re.sub(r"--([a-z][a-z-]*)", renamed, text)


def temporary_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="stmbench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
