"""The command of an analysis, made from its entry in the registry: its options, and what every analysis is asked.

stmbench erf [MODELS]... [options of the analysis] [options that all share]
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from stmbench.analyses.options import Options, RunSettings, element_type, flag, help_of, numbers, scalar_type
from stmbench.analyses.registry import AnalysisSpec
from stmbench.commands import options, session, values
from stmbench.commands.addresses import shown

EPILOG = "Stop it at any time: finished work stays in --out, and the same command resumes where it left off."
Positional = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODELS]...", help="Models by name, as with --models.", autocompletion=options.complete_models
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be measured, and about how long it takes. Writes nothing.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Measure again what the store already holds.")]


def command_of(spec: AnalysisSpec) -> typer.Typer:
    """The Typer object with the one command of an analysis. `spec.options` must be given."""
    kind = spec.options
    assert kind is not None, spec.name
    fields = dataclasses.fields(kind)
    parameters = list(_parameters(spec, kind))

    def run(ctx: typer.Context, **words: Any) -> None:
        given = set(values.given(ctx, *(field.name for field in fields)))
        hints = get_type_hints(kind)
        chosen = {name: _value(name, words[name], hints[name], kind) for name in words if name in given}
        _run(ctx, spec, kind(**chosen), words)

    annotations = {parameter.name: parameter.annotation for parameter in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {**annotations, "return": None}
    run.__doc__ = spec.summary
    app = typer.Typer(add_completion=False)
    example = f"Example: stmbench {spec.example}\n\n" if spec.example else ""
    app.command(name=spec.name, epilog=f"{example}{EPILOG}")(run)
    return app


def _run(ctx: typer.Context, spec: AnalysisSpec, chosen: Options, words: dict[str, Any]) -> None:
    with session.importing():
        from stmbench.analyses.models import for_models
        from stmbench.commands.analysis_output import Output
        from stmbench.experiments.estimating import estimate
        from stmbench.plugins import loaded_paths

    out: Path = words["out"]
    output = Output(spec, out, as_json=words["as_json"], shown=chosen.shown)
    names = options.selection(
        ctx,
        models=[*(words["models"] or ()), *(words["named"] or ())],
        mixers=words["mixers"],
        scale=words["scale"],
        architecture=words["architecture"],
        plugins=words["plugin"],
    )
    matching = options.matched(names, words["match"], output.note)
    names = names if matching is None else matching.names
    asked, (spec, chosen) = spec, for_models(spec, chosen, names)
    if spec is not asked:
        output = Output(spec, out, as_json=words["as_json"], shown=chosen.shown)
    checkpoints = {}
    if chosen.needs_images:
        weights = words["weights"], words["resize_tables"]
        checkpoints = options.checkpoints_of(names, words["checkpoint"] or (), *weights)
    settings = RunSettings(
        models=names,
        checkpoints=checkpoints,
        seed=words["seed"],
        device=values.device(words["device"]),
        plugins=tuple(str(path) for path in loaded_paths()),
    )
    session.keep(f"what was measured stays in {shown(out)}, and the same command resumes from there")
    output.run(
        lambda store, listener: chosen.analysis(settings, store, listener),
        fresh=words["fresh"],
        matching=matching,
        alone=chosen.alone,
        estimate=lambda: estimate(chosen, settings),
        dry_run=words["dry_run"],
    )


def _parameters(spec: AnalysisSpec, kind: type[Options]) -> Iterator[inspect.Parameter]:
    """In the order of the help: models, weights, the analysis's own options, where and how it runs."""
    fields = dataclasses.fields(kind)
    yield parameter("ctx", typer.Context, inspect.Parameter.empty)
    for field in fields:
        if help_of(field).is_argument:
            yield field_parameter(field, kind)
    yield parameter("models", Positional, None)
    yield parameter("named", options.Models, None)
    yield parameter("scale", options.Scale, "micro")
    yield parameter("mixers", options.Mixers, None)
    yield parameter("architecture", options.Architecture, "unified")
    yield parameter("match", options.Match, None)
    yield parameter("plugin", options.Plugin, None)
    if kind.needs_images:
        yield parameter("checkpoint", options.Checkpoints, None)
        yield parameter("weights", options.Weights, None)
        yield parameter("resize_tables", options.ResizeTables, False)
    for field in fields:
        if not help_of(field).is_argument:
            yield field_parameter(field, kind)
    yield parameter("device", options.Device, "auto")
    yield parameter("seed", options.Seed, 0)
    yield parameter("fresh", Fresh, False)
    yield parameter("dry_run", DryRun, False)
    yield parameter("out", options.Out, Path("results") / spec.name)
    yield parameter("as_json", options.Json, False)
    yield parameter("debug", options.Debug, False)


def parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """A keyword parameter, as Typer reads a command's signature."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def field_parameter(field: dataclasses.Field[Any], kind: type[Options]) -> inspect.Parameter:
    """An option, or an argument, of the command line for a field of an options dataclass."""
    hint = get_type_hints(kind)[field.name]
    is_list, settings = element_type(hint) is not None, _settings(field, hint)
    if help_of(field).is_argument:
        # required: what the choices are, the options themselves say
        return parameter(field.name, Annotated[str, typer.Argument(**settings)], inspect.Parameter.empty)
    parsed: Any = list[str] if is_list else scalar_type(hint)
    default = None if is_list else field.default
    annotation = parsed | None if default is None else parsed
    return parameter(field.name, Annotated[annotation, typer.Option(*_flags(field), **settings)], default)


def _settings(field: dataclasses.Field[Any], hint: Any) -> dict[str, Any]:
    facts = help_of(field)
    settings: dict[str, Any] = {"help": facts.help, "metavar": facts.metavar}
    if facts.completion:
        settings["autocompletion"] = getattr(options, f"complete_{facts.completion}")
    if element_type(hint) is None and scalar_type(hint) in (int, float):
        settings |= {"min": facts.least, "max": facts.most}
    return settings


def _flags(field: dataclasses.Field[Any]) -> tuple[str, ...]:
    return help_of(field).flags or (flag(field.name),)


def _value(name: str, word: Any, hint: Any, kind: type[Options]) -> Any:
    """What was given on the command line as the field's type."""
    element = element_type(hint)
    if element is None:
        return word
    items = tuple(values.items(word))
    if element not in (int, float):
        return items
    (field,) = (field for field in dataclasses.fields(kind) if field.name == name)
    return numbers(items, element, help_of(field).example, name)
