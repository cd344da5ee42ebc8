"""`stmbench new mixer NAME` and `stmbench new analysis NAME`: working starter files, to be changed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from stmbench.commands import options, terminal
from stmbench.commands.group import SuggestingGroup, command_names

app = typer.Typer(
    cls=SuggestingGroup,
    no_args_is_help=True,
    add_completion=False,
    help="Write a starter file for a mixer or an analysis of your own.",
)
Name = Annotated[str, typer.Argument(help="A name in lower case with underscores, e.g. strip_conv.")]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FILE", help="The file to write; default: NAME.py in this folder.")
]


@app.callback()
def new() -> None:
    """Write a starter file for something of yours."""


@app.command()
def mixer(name: Name, out: Out = None, plugin: options.Plugin = None, debug: options.Debug = False) -> None:
    """A mixer in one file: a 3x3 depthwise convolution with all that the contract asks for, to be changed."""
    from stmbench.mixers import BUILTIN

    _write_starter("mixer", name, out, plugin, taken=BUILTIN)


@app.command()
def analysis(name: Name, out: Out = None, plugin: options.Plugin = None, debug: options.Debug = False) -> None:
    """An analysis in one file: options, one metric on real images, table, figure and section, to be changed."""
    from stmbench.analyses.registry import ANALYSES

    _write_starter("analysis", name, out, plugin, taken={*ANALYSES, *command_names()})


def _write_starter(
    kind: str, name: str, out: Path | None, plugin: list[Path] | None, *, taken: Collection[str]
) -> None:
    """Write the file. Raises PluginError for an unusable name, OutputError for a file that cannot be written."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from stmbench.errors import OutputError, PluginError, with_article
    from stmbench.registry import require_name

    require_name(name, kind)
    known = set(taken)
    if plugin:
        from stmbench.plugins import load_plugins

        known.update(*(loaded.registered.get(kind, ()) for loaded in load_plugins(plugin)))
    if name in known:
        raise PluginError(f"{with_article(kind)} name that is free", repr(name), "choose another name")
    file = out or Path(f"{name}.py")
    if file.suffix != ".py":
        raise OutputError("a file that ends in .py", str(file), "change --out")
    words = name.split("_")
    environment = Environment(
        loader=PackageLoader("stmbench.commands"), undefined=StrictUndefined, keep_trailing_newline=True
    )
    text = environment.get_template(f"{kind}.py.j2").render(
        {
            "name": name,
            "class": "".join(word.capitalize() for word in words),
            "title": " ".join(word.capitalize() for word in words),
            "abbreviation": "-".join(word.capitalize() for word in words),
            "file": str(file),
            "file_name": file.name,
        }
    )
    try:
        with file.open("x", encoding="utf-8") as stream:  # x: never over a file that is there
            try:
                stream.write(text)
                stream.flush()
            except OSError:
                file.unlink()  # half a file would be in the way of the next try
                raise
    except FileExistsError as error:
        raise OutputError(
            "a file that does not exist yet", str(file), "choose another --out, or move it away"
        ) from error
    except OSError as error:
        raise OutputError("a file that can be written", f"{file} ({error.strerror})", "change --out") from error
    terminal.echo(f"wrote {file}; next: stmbench check {file}")
