"""The Python API: a function for each analysis, made from its entry in the registry, as its command is.

    import stmbench as sb

    result = sb.erf(["unified_halo_attn_nano", my_module], images="photos", num_images=16)
    result.table, result.summary(), result.plot(), result.report("out.html")

Options, defaults and help are those of the command. Models are names or modules, images the name of a data set, a
folder, a tensor, a list of pictures or a loader, weights one file or a dict by model: `settings` and `values` turn them
into what an analysis takes. Without `out=` the store is temporary.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import inspect
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, get_type_hints

from stmbench.analyses.options import Options, RunSettings, element_type, help_of, scalar_type
from stmbench.analyses.registry import ANALYSES, AnalysisSpec
from stmbench.api.results import Result, listener_of
from stmbench.errors import ConfigError, InputError, UnknownNameError
from stmbench.tables.object_storage import is_address

if TYPE_CHECKING:
    from torch import nn

    from stmbench.analyses.base import Analysis, Listener
    from stmbench.analyses.match import Matching
    from stmbench.architectures.module_copies import GivenModel
    from stmbench.checkpoints.selection import Checkpoint
    from stmbench.tables import Store

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


def settings(models: Models, kind: type[Options], asked: Mapping[str, Any]) -> tuple[RunSettings, Matching | None]:
    """What was asked for of any analysis, and how its models were brought to one budget, if they were."""
    from stmbench.analyses.models import by_name, by_scale
    from stmbench.architectures.given_models import model_name_of
    from stmbench.plugins import load_plugins, loaded_paths

    load_plugins([Path(file) for file in listed(asked["plugins"])])
    names = by_name([model_name_of(model) for model in listed(models)])
    names = names or by_scale(asked["scale"], mixers=listed(asked["mixers"]), architecture=asked["architecture"])
    matching = None
    if asked["match"] is not None:
        from stmbench.analyses.match import match

        matching = match(names, asked["match"])
        names = matching.names
    chosen = RunSettings(
        models=names,
        checkpoints=_checkpoints(names, asked["checkpoint"]) if kind.needs_images else {},
        seed=asked["seed"],
        device=_device(asked["device"]),
        plugins=tuple(str(path) for path in loaded_paths()),
    )
    return chosen, matching


def _checkpoints(names: Sequence[str], given: Any) -> dict[str, Path | Checkpoint]:
    from stmbench.checkpoints.selection import Checkpoint

    if given is None:
        return {}
    if isinstance(given, (str, Path)) and (is_address(str(given)) or Path(given).expanduser().is_dir()):
        from stmbench.checkpoints.trained import trained_checkpoints
        from stmbench.tables.addresses import fetched_store

        return dict(trained_checkpoints(fetched_store(given).expanduser(), names))
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


_PARAMETER = inspect.Parameter
SHARED = (  # of every function: name, default, help
    ("scale", "micro", "Size of the models, where `models` names none."),
    ("mixers", (), "Mixers by name, where `models` names none; default: the architecture's own."),
    ("architecture", "unified", "The architecture that the mixers are put into."),
    ("match", None, "'macs' or 'params': scale a mixer without a size of its own to the others'."),
    ("checkpoint", None, "Weights: a file, {model name: file}, or a store of trainings."),
    ("device", "auto", "Where models run: auto, cpu, cuda or cuda:N."),
    ("seed", 0, "Of weights, data and order."),
    ("out", None, "The store, a folder or s3://bucket/store; None: a temporary one, removed when Python ends."),
    ("fresh", False, "Measure again what the store already holds."),
    ("plugins", (), "Python files that register mixers, models or analyses."),
    ("progress", True, "Whether to show how far the run is."),
)


@functools.cache
def function_of(name: str) -> Callable[..., Result]:
    """The function of an analysis. Raises UnknownNameError where no analysis that can be asked for has this name."""
    spec = ANALYSES.get(name)
    if spec.options is None:
        raise UnknownNameError("analysis with options", name, [other for other in ANALYSES if other != name])
    kind = spec.options

    def call(models: Models = (), **options: Any) -> Result:
        return _run(spec, kind, models, options)

    call.__name__ = call.__qualname__ = name
    call.__module__ = "stmbench"
    call.__doc__ = _docstring(spec, kind)
    call.__signature__ = inspect.Signature(_parameters(kind), return_annotation=Result)  # type: ignore[attr-defined]
    return call


def _parameters(kind: type[Options]) -> list[inspect.Parameter]:
    """`models`, then the analysis's options, then what all functions share; all but `models` by keyword."""
    hints = get_type_hints(kind)
    fields = dataclasses.fields(kind)
    arguments = [field for field in fields if help_of(field).is_argument]
    own = [
        _PARAMETER(public(field.name, kind), _PARAMETER.KEYWORD_ONLY, default=field.default,
                   annotation=hints[field.name])
        for field in (*arguments, *(field for field in fields if field not in arguments))
    ]  # fmt: skip
    shared = [
        _PARAMETER(name, _PARAMETER.KEYWORD_ONLY, default=default)
        for name, default, _ in SHARED
        if name != "checkpoint" or kind.needs_images
    ]
    models = _PARAMETER("models", _PARAMETER.POSITIONAL_OR_KEYWORD, default=(), annotation="Models")
    return [models, *own, *shared]


def _docstring(spec: AnalysisSpec, kind: type[Options]) -> str:
    own = [(public(field.name, kind), help_of(field).help) for field in dataclasses.fields(kind)]
    shared = [(name, text) for name, _, text in SHARED if name != "checkpoint" or kind.needs_images]
    lines = [f"    {name}: {text}" for name, text in (*own, *shared)]
    models = "    models: a name, a module or a list of them; none: those of `scale`."
    return "\n".join([inspect.cleandoc(spec.summary), "", "Args:", models, *lines])


def _run(spec: AnalysisSpec, kind: type[Options], models: Models, given: Mapping[str, Any]) -> Result:
    require_known(spec.name, given, [parameter.name for parameter in _parameters(kind)])
    asked = {name: given.get(name, default) for name, default, _ in SHARED}
    own = own_options(given, kind)
    from stmbench.analyses.models import for_models

    try:
        chosen, matching = settings(models, kind, asked)
        spec, options = for_models(spec, kind(**values(own, kind)), chosen.models)
    except InputError as error:
        raise in_python(error, kind) from None
    measured = measure(
        spec,
        lambda store, listener: options.analysis(chosen, store, listener),
        asked,
        options.shown,
        " ".join(f"{name}={value!r}," for name, value in own.items() if isinstance(value, (str, int, float, tuple))),
        matching,
    )
    return Result(*measured)


def require_known(function: str, given: Mapping[str, Any], known: list[str]) -> None:
    """Raises UnknownNameError, with the nearest names, for an option that a function does not have."""
    for name in given:
        if name not in known:
            raise UnknownNameError(f"option of {function}()", name, known)


def own_options(given: Mapping[str, Any], kind: type[Options]) -> dict[str, Any]:
    """The given options that are fields of `kind`, by the field's name."""
    names = {public(field.name, kind): field.name for field in dataclasses.fields(kind)}
    return {names[name]: value for name, value in given.items() if name in names}


def measure(
    spec: AnalysisSpec,
    make: Callable[[Store, Listener | None], Analysis],
    asked: Mapping[str, Any],
    shown: str | None,
    call: str,
    matching: Matching | None = None,
) -> tuple[Any, ...]:
    """Run an analysis; returns the arguments of its `Result`.

    Raises:
        InputError: not one unit of work could be done.
    """
    from stmbench.commands.analysis_output import untrained
    from stmbench.reporting.caveats import faint_mixers
    from stmbench.tables import Store
    from stmbench.tables.addresses import fetched_store, sent_at_the_end

    out = fetched_store(asked["out"]) if asked["out"] is not None else temporary_folder()
    store = Store(out)
    try:
        with sent_at_the_end(), listener_of(asked["progress"]) as listener:
            report = make(store, listener).run(fresh=asked["fresh"], matching=matching)
    except InputError as error:
        raise in_python(error, spec.options) from None
    report.failures = [python_names(line, spec.options) for line in report.failures]
    frame = store.read(report.keys)
    good = frame[(frame["status"] != "failed") & ~frame["model"].isin(report.left_out)]
    if not len(good):
        raise InputError("a unit of work that can be done", f"failures alone: {'; '.join(report.undone)}", "fix them")
    frame.attrs["warnings"] = report.warnings
    frame.attrs["command"] = f"stmbench.{spec.name}({call.rstrip(',')})"
    notes = () if matching is None else matching.notes
    warnings = dict.fromkeys([*notes, *untrained(good), *faint_mixers(frame), *report.warnings])
    return spec, out, frame, report, shown, tuple(python_names(line, spec.options) for line in warnings)
