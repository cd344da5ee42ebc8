"""The functions made from options, by name: `erf`, `profile`, ..., `train`.

Their signatures are written out in `functions.pyi` for editors and type checkers: `python -m stmbench.api.functions`
prints that file, and a test compares.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

HEAD = '''"""Signatures of the functions made from options. Written by `python -m stmbench.api.functions`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from stmbench.api.analyses import Models
from stmbench.api.results import Result, TrainResult
'''
_TYPES = {  # of what every function takes
    "models": "Models",
    "scale": "str",
    "mixers": "str | Sequence[str]",
    "architecture": "str",
    "match": "str | None",
    "checkpoint": "str | Path | Mapping[str, str | Path] | None",
    "device": "str",
    "seed": "int",
    "out": "str | Path | None",
    "fresh": "bool",
    "plugins": "str | Path | Sequence[str | Path]",
    "progress": "bool",
    # what may be given as objects
    "images": "Any",
    "labels": "Any",
    "set": "str | Sequence[str] | Mapping[str, Any]",
}


def __getattr__(name: str) -> Callable[..., Any]:
    from stmbench.api.analyses import function_of
    from stmbench.errors import UnknownNameError

    if name == "train":
        from stmbench.api.commands import train

        return train
    try:
        return function_of(name)
    except UnknownNameError as error:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from error


def stub_text(names: list[str]) -> str:
    """The text of functions.pyi for these functions."""
    return "\n".join([HEAD, *(_stub(__getattr__(name)) for name in names)])


def _stub(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    lines = [f"def {function.__name__}("]
    for index, parameter in enumerate(signature.parameters.values()):
        if index == 1:
            lines.append("    *,")
        lines.append(f"    {parameter.name}: {_type(parameter)} = {parameter.default!r},")
    result = signature.return_annotation.__name__
    doc = (function.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    return "\n".join([*lines, f") -> {result}:", f'    """{doc}"""', ""])


def _type(parameter: inspect.Parameter) -> str:
    if parameter.name in _TYPES:
        return _TYPES[parameter.name]
    hint = parameter.annotation
    text = hint.__name__ if isinstance(hint, type) else str(hint)
    for module in ("typing.", "pathlib._local.", "pathlib."):
        text = text.replace(module, "")
    found = text.partition("tuple[")[2].partition(", ...]")[0]
    if found:  # one value, or several
        text = text.replace(f"tuple[{found}, ...]", f"{found} | Sequence[{found}]")
    return text.replace("Path", "str | Path")


if __name__ == "__main__":
    from stmbench.analyses.registry import specs

    print(stub_text([*(spec.name for spec in specs() if spec.options is not None), "train"]), end="")
