"""Text that came from a user, in Markdown: shown as it is, whatever is in it."""

from __future__ import annotations

import re
from typing import Final

from stmbench.errors import printable

# entities rather than backslashes: inside a table's cell a backslash does not keep a backtick from opening code
_ENTITIES: Final = {ord(letter): f"&#{ord(letter)};" for letter in "\\`*[]<>#!|~&$"}
_EMPHASIS: Final = re.compile(r"(?<!\w)_|_(?!\w)")  # an underscore between letters is a letter
_MENTION: Final = re.compile(r"(?<!\w)@(?=\w)")
_START: Final = re.compile(r"^([-+=]|\d{1,9}(?=[.)](\s|$)))(?!\d)")  # of a list or a rule; not of a negative number


def escaped(text: str) -> str:
    """`text` for a paragraph or a cell: one line, no markup, and nobody is mentioned."""
    # one space between words and none around them, as emphasis does not close after a space
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in printable(text)).split())
    said = _EMPHASIS.sub("&#95;", plain.translate(_ENTITIES))
    said = _MENTION.sub("@<!-- -->", said)
    return _START.sub(lambda match: f"&#{ord(match[1][0])};{match[1][1:]}", said)
