"""Groups of commands: imported when named, near names suggested, and the one place where errors become a line.

Mistakes in the words of a command line are put the way every other error is: expected X, got Y, the remedy.
"""

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
from stmbench.commands import addresses, session, terminal
from stmbench.commands.analysis_command import command_of
from stmbench.errors import ConfigError, InputError, StmbenchError, UnknownNameError, printable

BEFORE = ("study", "list", "run", "train")  # the analyses' commands
AFTER = ("report", "watch", "compare", "history", "dashboard", "export", "store", "convert", "new", "check")


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
        command = _watch(terminal.guard(typer.main.get_command(app)))
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
            _require_words(sys.argv[1:] if args is None else args)
            code = super().main(args, prog_name, *rest, **settings)
        except StmbenchError as error:
            self._fail(error, str(error))
        except Exception as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # the help, which is what was missing, and exit code 2
                error.show()  # type: ignore[attr-defined]
                sys.exit(2)
            line = _line_of(error, sys.argv[1:] if args is None else args)
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


def _require_words(words: Sequence[str]) -> None:
    """Refuse empty words: they stand where a script's variable was not set, and would otherwise mean the default.

    Raises:
        ConfigError: a word, or the value of `--option=value`, with nothing but blanks and commas in it.
    """
    for before, word in zip(["stmbench", *words], words, strict=False):
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", "")
        if word.strip(" ,\t\n") and not (equals and not value.strip(" ,\t\n")):
            continue
        after, got = (option, value) if equals else (before, word)
        raise ConfigError(f"a value after `{after}`", repr(got), "leave both out, or set the variable it comes from")


def _watch(command: Any) -> Any:
    """Make `command`, and every command below it, refuse an option where another one's value should be, and an address
    where a path should be; and keep the stores at addresses equal to it."""
    for below in getattr(command, "commands", {}).values():
        _watch(below)
    parse, invoke = command.parse_args, command.invoke

    def parse_args(ctx: Any, args: list[str]) -> Any:
        _require_values(command.get_params(ctx), args)
        rest = parse(ctx, args)
        addresses.require_paths(ctx.params)
        return rest

    def invoke_fetched(ctx: Any) -> Any:
        with addresses.fetched_and_sent():
            return invoke(ctx)

    command.parse_args, command.invoke = parse_args, invoke_fetched
    return command


def _require_values(parameters: Sequence[Any], words: Sequence[str]) -> None:
    """Raises ConfigError for `--jacobian --out x`: the parser would take '--out' for the value."""
    valued = {
        name
        for parameter in parameters
        if parameter.param_type_name == "option" and not parameter.is_flag and not parameter.count
        for name in parameter.opts
    }
    place = 0
    while place < len(words) and words[place] != "--":
        takes = words[place] in valued
        if takes and place + 1 < len(words) and words[place + 1].startswith("--"):
            name, got = words[place], words[place + 1]
            remedy = f"give the value, or write {name}={got} if that is it"
            raise ConfigError(f"a value after `{name}`", repr(got), remedy)
        place += 2 if takes else 1


def _line_of(error: Exception, words: Sequence[str]) -> str | None:
    """One line for a usage error of the parser, or for what this machine has not; None for any other error.

    The parser's classes moved between versions of Typer (its own copy of click, or click), so they are told by what
    they carry.

    Args:
        error: what the parser raised.
        words: the command line, where a refused value is looked up: the error does not carry it.
    """
    if isinstance(error, OSError | MemoryError):
        return _of_the_machine(error)
    if not hasattr(error, "format_message"):
        return None
    ctx: Any = getattr(error, "ctx", None)
    path = getattr(ctx, "command_path", "stmbench")
    see = f"see `{path} --help`"
    message = str(error.format_message()).strip().rstrip(".").removeprefix("Got ")
    if type(error).__name__ == "NoSuchOption":
        known = [name for parameter in ctx.command.get_params(ctx) for name in parameter.opts] if ctx else []
        return str(UnknownNameError(f"option of `{path}`", str(getattr(error, "option_name", "")), known))
    parameter: Any = getattr(error, "param", None)
    if parameter is None:
        return str(InputError(f"valid arguments of `{path}`", message, see))
    if type(error).__name__ == "MissingParameter":
        return str(InputError(f"a value for {_name(parameter)}", "none", see))
    reason = message.split(": ", 1)[-1]
    demand, value = reason.removeprefix("Input should be "), _value(parameter, words)
    if demand == reason or value is None:
        return str(InputError(f"a valid value for {_name(parameter)}", reason, see))
    return str(InputError(f"{_name(parameter)} to be {demand.split(',')[0]}", repr(value), see))


def _of_the_machine(error: OSError | MemoryError) -> str:
    if isinstance(error, MemoryError):
        return str(InputError("enough memory", "too little", "ask for less at once"))
    where = f" for {str(error.filename)[-200:]!r}" if error.filename is not None else ""
    got = f"{error.strerror or type(error).__name__}{where}"
    return str(InputError("files that can be read and written", got, "correct the path, or make room"))


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name).upper()
    return str(max(parameter.opts, key=len))


def _value(parameter: Any, words: Sequence[str]) -> str | None:
    """The last value given to an option."""
    last = None
    for word, following in zip(words, [*words[1:], None], strict=True):
        name, equals, value = word.partition("=")
        if name in parameter.opts:
            last = value if equals else following
    return last
