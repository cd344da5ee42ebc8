"""What a mixer may be called: its name becomes part of model names, options and file names."""

from __future__ import annotations

import keyword
import re

from stmbench.errors import PluginError

_FORM = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def require_name(name: str) -> str:
    """The name itself; raises PluginError unless it is lower_case_with_underscores, and no
    keyword."""
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise PluginError("a mixer name that is no word of Python's", repr(name), f"for instance {name}_mixer")
    if not _FORM.fullmatch(name):
        near = "_".join(re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()))
        remedy = f"for instance {near}" if _FORM.fullmatch(near) else "for instance my_mixer"
        raise PluginError("a mixer name in lower case with underscores", repr(name), remedy)
    return name
