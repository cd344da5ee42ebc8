"""Every error stmbench raises on purpose.

StmbenchError                 caught once, in the commands: one line, exit code 2
├── InputError                something the user gave: 'expected X, got Y', and the remedy
│   ├── UnknownNameError      a name that is not registered (suggests the nearest ones)
│   ├── ConfigError           a configuration value that makes no sense
│   ├── PluginError           a plug-in file that cannot be used
│   ├── CheckpointError       weights that do not belong to the model, or are not safe to load
│   ├── TableError            rows or a store that break the schema
│   └── OutputError           a place that cannot be written
├── DuplicateNameError        a second registration of a name
├── CountError                an operation the MAC counter has no rule for
├── ImageError                one image that cannot be read; counted, named and skipped up to a limit
├── ForsakenError             one of several processes that train together failed: none can go on
└── UnitError                 one unit of work that failed; becomes a row with status and reason
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable
from typing import Final

# an error of ours inside what came: where it happened, perhaps the name of its class, and its three pieces
_NESTED = re.compile(r"(.*?)(?:\b\w+Error: )?\bexpected (.+?), got (.+); (.+)", re.DOTALL)

# control, format, surrogate, private, unassigned, separators of lines and paragraphs
HIDDEN: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
KEPT: Final = frozenset("\n\t\u00ad\u200b\u200c\u200d")  # lines, places to break at, and joiners of letters


class StmbenchError(Exception):
    """Base of the hierarchy. `str(error)` is one line, fit for a terminal."""


class InputError(StmbenchError):
    """What the user gave cannot be used: says what was expected, what came, and the remedy.

    Where `got` is such a sentence itself (the reason of another process, or of a row), it is told instead of being
    wrapped into a second one.
    """

    def __init__(self, expected: str, got: str, remedy: str) -> None:
        if inner := _NESTED.fullmatch(got):
            where, expected, got, remedy = inner.groups()
            got += f" ({where.strip(' :')})" if where.strip(" :") else ""
        expected, got = _short(expected), _short(got)
        self.expected, self.got, self.remedy = expected, got, remedy
        message = f"expected {expected}, got {got}; {remedy}"
        super().__init__(printable(" ".join(message.split())))


def _short(text: str) -> str:
    """Without its middle where nobody would read it all: 5,000 digits, a path of 5,000 letters."""
    return text if len(text) <= 600 else f"{text[:300]} ... {text[-200:]}"


def printable(text: str) -> str:
    """The text with `\\x1b` or `\\u202e` in place of characters that are not seen; lines and tabs stay."""
    if text.isprintable():
        return text
    return "".join(_shown(letter) for letter in text)


def _shown(letter: str) -> str:
    if letter in KEPT or unicodedata.category(letter) not in HIDDEN:
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class UnknownNameError(InputError):
    """A name that is not among `known`; the nearest known names are the remedy."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        if near:
            remedy = f"did you mean {' or '.join(near)}?"
        elif len(names) <= 12:
            remedy = f"known: {', '.join(names) or 'none'}"
        else:
            remedy = f"{len(names)} are known, see `stmbench list`"
        article = "an" if kind[:1] in "aeiou" else "a"
        super().__init__(f"{article} {kind}", repr(name), remedy)


class ConfigError(InputError):
    """A configuration value that makes no sense."""


class PluginError(InputError):
    """A plug-in file that does not import, registers nothing, or breaks the mixer contract."""


class CheckpointError(InputError):
    """Weights that are unreadable, unsafe, or another model's."""


class TableError(InputError):
    """Rows that break the schema, or a store this version cannot read."""


class OutputError(InputError):
    """A file or folder that cannot be written."""


class DuplicateNameError(StmbenchError):
    """A second registration of a name in one registry."""


class CountError(StmbenchError):
    """An operation the MAC counter has no rule for: a silent zero would make it look free."""


class ImageError(StmbenchError):
    """One image that cannot be read: damaged, missing, or of a kind that has no colours."""


class ForsakenError(StmbenchError):
    """One of several processes that work together failed while the others wait for it: no unit of it can go on."""


class UnitError(StmbenchError):
    """One unit of work failed; the message becomes the row's reason, the other units go on."""
