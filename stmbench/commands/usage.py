"""Mistakes in the words of a command line, put the way every other error is: expected X, got Y, the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stmbench.errors import InputError, UnknownNameError


def line(error: Exception, words: Sequence[str]) -> str | None:
    """One line for a usage error of the parser; None for an error that is none.

    The parser's classes moved between versions of Typer (its own copy of click, or click), so they are told by what
    they carry.

    Args:
        error: what the parser raised.
        words: the command line, where a refused value is looked up: the error does not carry it.
    """
    if not hasattr(error, "format_message"):
        return None
    ctx: Any = getattr(error, "ctx", None)
    path = getattr(ctx, "command_path", "stmbench")
    see = f"see `{path} --help`"
    message = str(error.format_message()).strip().rstrip(".")
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
