"""Text that came from a user, in Markdown: shown as it is, whatever is in it."""

from __future__ import annotations

import re
from typing import Final

# entities rather than backslashes: inside a table's cell a backslash does not keep a backtick from opening code
_ENTITIES: Final = {ord(letter): f"&#{ord(letter)};" for letter in "\\`*[]<>#!|~&$"} | {ord("@"): "@<!-- -->"}
_EMPHASIS: Final = re.compile(r"(?<!\w)_|_(?!\w)")  # an underscore between letters is a letter


def escaped(text: str) -> str:
    """`text` for a paragraph or a cell: one line, no markup, and nobody is mentioned."""
    return _EMPHASIS.sub("&#95;", " ".join(text.split()).translate(_ENTITIES))
