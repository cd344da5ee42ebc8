"""`stmbench list`: what is available. `list mixers` is the papers' Table I, printed from the registry."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from stmbench.architectures.listing import listing
from stmbench.commands import options, terminal
from stmbench.commands.group import SuggestingGroup
from stmbench.errors import UnknownNameError
from stmbench.registry import matches

app = typer.Typer(
    cls=SuggestingGroup,
    no_args_is_help=True,
    add_completion=False,
    help="List the mixers (the papers' Table I), models, architectures, experiments and examples.",
)


TIMM: Final = "timm:"
PATTERN_HELP = "A text that the name or title contains, or a shell pattern, e.g. '*_micro'."
Pattern = Annotated[str, typer.Argument(help=PATTERN_HELP)]


@app.command()
def mixers(
    pattern: Pattern = "*", plugin: options.Plugin = None, as_json: options.Json = False, debug: options.Debug = False
) -> None:
    """The spatial token mixers with type, sampling, weights, cost in N, zero-gradient parameters and source."""
    every = listing(plugin).mixers
    entries = [entry for entry in every if matches(pattern, entry["name"], entry["title"], entry["abbreviation"])]
    if not entries:
        raise UnknownNameError("mixer", pattern, [entry["name"] for entry in every])
    if as_json:
        _print_json(entries)
        return
    _print_table(
        "Spatial token mixers",
        ("mixer", "type", "sampling", "weights", "α, β", "depends on N"),
        [
            (
                entry["name"],
                entry["family"],
                entry["sampling"],
                entry["weights"],
                ", ".join(entry[share].replace("learned", "L") for share in ("alpha", "beta")),
                "yes" if entry["depends_on_n"] else "no",
            )
            for entry in entries
        ],
    )
    for entry in entries:
        zero = ", ".join(f"{item['parameter']} ({item['part']})" for item in entry["zero_gradient"]) or "none"
        source = f"{entry['method'] or 'a plug-in'} ({entry['citation'] or 'no citation'})"
        title = f"{entry['title']} ({entry['abbreviation']})"
        terminal.echo(f"{entry['name']}: {title}, from {source}; zero gradient: {zero}")
        for limit in entry["limits"]:
            terminal.echo(f"{entry['name']}: {limit}")
    terminal.echo("α, β: shares of the dynamic and the static affinity (Gao et al. 2021, Table 2); L is learned")


@app.command()
def models(
    pattern: Pattern = "*", plugin: options.Plugin = None, as_json: options.Json = False, debug: options.Debug = False
) -> None:
    """Models and their titles, one per line; `timm:TEXT` searches timm's models."""
    titles = dict(listing(plugin).models)
    if ":" in pattern:  # another project's names, or those of detectors
        from stmbench.architectures.catalog import ModelName, list_models

        titles |= {name: ModelName.parse(name).title for name in list_models(pattern)}
        chosen = list_models(pattern)
    else:
        chosen = [name for name in titles if matches(pattern, name, name.removeprefix(TIMM))]
    chosen = chosen or [name for name, title in titles.items() if matches(pattern, title)]
    if not chosen:
        raise UnknownNameError("model or a pattern that matches one", pattern, titles)
    if as_json:
        _print_json([{"name": name, "title": titles[name]} for name in chosen])
        return
    width = max(map(len, chosen))
    terminal.echo("\n".join(f"{name:{width}}  {titles[name]}" for name in chosen))


@app.command()
def experiments(pattern: Pattern = "*", as_json: options.Json = False, debug: options.Debug = False) -> None:
    """The experiments that come with stmbench; `stmbench run NAME` takes their names."""
    from stmbench.bundled import bundled_experiments, title_of

    files = bundled_experiments()
    every = [(name, title_of(path), str(path)) for name, path in files.items()]
    rows = [row for row in every if matches(pattern, *row[:2])]
    if not rows:
        raise UnknownNameError("experiment", pattern, files)
    if as_json:
        _print_json([{"name": name, "title": title, "file": file} for name, title, file in rows])
        return
    _print_table("Experiments", ("experiment", "title"), [row[:2] for row in rows])


@app.command()
def examples(as_json: options.Json = False, debug: options.Debug = False) -> None:
    """The scripts and notebooks that come with stmbench, and where they are: copy one to change it."""
    from stmbench.bundled import bundled

    files = [path for path in sorted(bundled("examples").iterdir()) if path.suffix in (".py", ".ipynb")]
    if as_json:
        _print_json([{"name": path.name, "file": str(path)} for path in files])
        return
    terminal.echo("\n".join(map(str, files)))


@app.command()
def architectures(
    pattern: Pattern = "*", plugin: options.Plugin = None, as_json: options.Json = False, debug: options.Debug = False
) -> None:
    """The architectures that any mixer plugs into."""
    every = listing(plugin).architectures
    entries = [entry for entry in every if matches(pattern, entry["name"], entry["title"])]
    if not entries:
        raise UnknownNameError("architecture", pattern, [entry["name"] for entry in every])
    if as_json:
        _print_json(entries)
        return
    rows = [(entry["name"], entry["title"], entry["citation"]) for entry in entries]
    _print_table("Architectures", ("architecture", "title", "citation"), rows)


def _print_json(value: object) -> None:
    terminal.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _print_table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    whole = ("mixer", "depends on N", "experiment")  # names are not broken
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in whole)
    for row in rows:
        table.add_row(*row)
    terminal.console().print(table)
