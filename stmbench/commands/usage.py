"""Mistakes in the words of a command line, put the way every other error is: expected X, got Y, the remedy."""

from __future__ import annotations

from typing import Any

from stmbench.errors import InputError, UnknownNameError


def line(error: Exception) -> str | None:
    """One line for a usage error of the parser; None for an error that is none.

    The parser's classes moved between versions of Typer (its own copy of click, or click), so they are told by what
    they carry.
    """
    if not hasattr(error, "format_message"):
        return None
    ctx: Any = getattr(error, "ctx", None)
    path = getattr(ctx, "command_path", "stmbench")
    see = f"see `{path} --help`"
    message = str(error.format_message()).strip()
    if type(error).__name__ == "NoArgsIsHelpError":
        return None
    if type(error).__name__ == "NoSuchOption":
        known = [name for parameter in ctx.command.get_params(ctx) for name in parameter.opts] if ctx else []
        return str(UnknownNameError(f"option of `{path}`", str(getattr(error, "option_name", "")), known))
    parameter: Any = getattr(error, "param", None)
    if parameter is not None and type(error).__name__ == "MissingParameter":
        return str(InputError(f"a value for {_name(parameter)}", "none", see))
    if parameter is not None:
        return str(InputError(f"a valid value for {_name(parameter)}", message.split(": ", 1)[-1].rstrip("."), see))
    return str(InputError(f"valid arguments of `{path}`", message.rstrip("."), see))


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name).upper()
    return str(max(parameter.opts, key=len))
