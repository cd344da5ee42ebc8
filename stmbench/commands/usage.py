"""Mistakes in the words of a command line, put the way every other error is: expected X, got Y, the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stmbench.errors import ConfigError, InputError, UnknownNameError


def require_values(words: Sequence[str]) -> None:
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


def watch(command: Any) -> Any:
    """Make `command`, and every command below it, refuse an option where another one's value should be."""
    for below in getattr(command, "commands", {}).values():
        watch(below)
    parse = command.parse_args

    def parse_args(ctx: Any, args: list[str]) -> Any:
        _require_values_of(command.get_params(ctx), args)
        return parse(ctx, args)

    command.parse_args = parse_args
    return command


def _require_values_of(parameters: Sequence[Any], words: Sequence[str]) -> None:
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


def line(error: Exception, words: Sequence[str]) -> str | None:
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
    found = None
    for word, following in zip(words, [*words[1:], None], strict=True):
        name, equals, value = word.partition("=")
        if name in parameter.opts:
            found = value if equals else following
    return found
