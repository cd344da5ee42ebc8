"""Groups of commands: imported when named, near names suggested, and the one place where errors become a line."""

from __future__ import annotations

import importlib
import itertools
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from stmbench.analyses.registry import ANALYSES, specs
from stmbench.commands import session, streams, usage
from stmbench.commands.analysis_command import command_of
from stmbench.errors import StmbenchError, UnknownNameError, printable

BEFORE = ("list", "run", "train")  # the analyses' commands
AFTER = ("report", "compare", "history", "dashboard", "export", "convert", "new", "check")


def command_names() -> list[str]:
    """Every command in the order of the help; those of analyses come from their registry, plug-ins' included."""
    return [*BEFORE, *(spec.name for spec in specs() if spec.options is not None), *AFTER]


class SuggestingGroup(TyperGroup):
    """A group whose unknown commands come with the nearest known ones."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if not ctx.resilient_parsing and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            kind = " ".join(["command of", ctx.command_path])
            raise UnknownNameError(kind, args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)


class CommandGroup(SuggestingGroup):
    """The root: the commands of analyses, and `stmbench/commands/<name>.py` with a Typer object called `app`."""

    def list_commands(self, ctx: Any) -> list[str]:
        return command_names()

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if not ctx.resilient_parsing and args[0] not in command_names():
            _load_plugins(args)  # one of them, or an installed package, may define the analysis of this name
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in (*BEFORE, *AFTER):
            app = importlib.import_module(f"stmbench.commands.{cmd_name}").app
        elif cmd_name in command_names():
            app = command_of(ANALYSES.get(cmd_name))
        else:
            return None
        command = usage.watch(streams.guard(typer.main.get_command(app)))
        command.name = cmd_name
        # Rich keeps the source's line breaks, which a narrower terminal would break once more
        command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", command.help or "")
        return command

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.secho(f"interrupted; {session.current().kept}", err=True, fg=typer.colors.YELLOW)
            raise typer.Exit(130) from None

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, *rest: Any, **settings: Any
    ) -> NoReturn:
        """Run, and exit with 0, with 2 and one line for an error that the user can fix, with 130 when interrupted.

        A mistake of ours is a traceback and 2: 1 is said of units of work that failed, and of regressions.
        """
        settings["standalone_mode"] = False
        session.start()
        try:
            usage.require_values(sys.argv[1:] if args is None else args)
            code = super().main(args, prog_name, *rest, **settings)
        except StmbenchError as error:
            self._fail(error, str(error))
        except Exception as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # the help, which is what was missing, and exit code 2
                error.show()  # type: ignore[attr-defined]
                sys.exit(2)
            line = usage.line(error, sys.argv[1:] if args is None else args)
            if line is None:
                session.current().debug = True
                line = f"a mistake in stmbench, please report it: {type(error).__name__}: {error}"
            self._fail(error, line)
        sys.exit(code if isinstance(code, int) else 0)

    def _fail(self, error: Exception, line: str) -> NoReturn:
        if session.current().debug:
            traceback.print_exception(error)
        typer.secho(f"error: {printable(line)}", err=True, fg=typer.colors.RED)
        sys.exit(2)


def _load_plugins(words: Sequence[str]) -> None:
    """Load the entry points of installed packages, and the files that the command line names with --plugin."""
    from stmbench.plugins import load_plugins

    pairs = itertools.pairwise(words)
    files = [after for word, after in pairs if word == "--plugin"]
    files += [word.partition("=")[2] for word in words if word.startswith("--plugin=")]
    load_plugins([Path(file) for file in files])
