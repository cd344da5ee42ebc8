"""The exceptions that stmbench raises on purpose; `require` checks a configuration value, `reason_of` puts any error
into one line.

StmbenchError                 caught once, by the commands: one line, exit code 2
├── InputError                invalid user input: 'expected X, got Y', and the remedy
│   ├── UnknownNameError      a name that is not registered (suggests similar ones)
│   ├── ConfigError           an invalid configuration value
│   ├── MissingPackageError   an optional package that is not installed: names the extra that brings it
│   ├── PluginError           a plug-in file that cannot be used
│   ├── CheckpointError       weights that do not fit the model, or are not safe to load
│   ├── TableError            rows or a store that violate the schema
│   │   └── LeftOutError      a figure that would say nothing, or mislead
│   └── OutputError           a file or folder that cannot be written
├── DuplicateNameError        a name registered twice
├── CountError                an operation the MAC counter has no rule for
├── ImageError                one image that cannot be read; skipped and reported, up to a limit
├── PeerFailureError          another process of a distributed run failed, so this one cannot continue
└── UnitError                 one failed unit of work; becomes a row with status and reason
"""

from __future__ import annotations

import difflib
import math
import numbers
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final

# one of our messages inside `got`: where it happened, perhaps the class name, and its three parts
_NESTED = re.compile(r"(.*?)(?:\b\w+Error: )?\bexpected (.+?), got (.+); (.+)", re.DOTALL)

# Unicode categories: control, format, surrogate, private, unassigned, line and paragraph separators
HIDDEN: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
KEPT: Final = frozenset("\n\t\u00ad\u200b\u200c\u200d")  # newline, tab, soft hyphen, zero-width space and joiners


class StmbenchError(Exception):
    """Base of the hierarchy. `str(error)` is a single line for the terminal."""


class InputError(StmbenchError):
    """Invalid user input: what was expected, what was given instead, and the remedy.

    If `got` is such a message itself (the reason reported by another process or stored in a row), that message is
    shown rather than nested in a second one.
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
    """The text without its middle if it is very long, such as a number of 5,000 digits."""
    return text if len(text) <= 600 else f"{text[:300]} ... {text[-200:]}"


def printable(text: str) -> str:
    """The text with invisible characters escaped as `\\x1b` or `\\u202e`; newlines and tabs are kept."""
    if text.isprintable():
        return text
    return "".join(_shown(letter) for letter in text)


def _shown(letter: str) -> str:
    if letter in KEPT or unicodedata.category(letter) not in HIDDEN:
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class UnknownNameError(InputError):
    """A name that is not in `known`; the remedy suggests the closest known names."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        if near:
            remedy = f"did you mean {' or '.join(near)}?"
        elif len(names) <= 12:
            remedy = f"known: {', '.join(names) or 'none'}"
        else:
            remedy = f"{len(names)} are known, see `stmbench list`"
        super().__init__(with_article(kind), repr(name), remedy)


def with_article(noun: str) -> str:
    """'a mixer', 'an analysis'."""
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


class ConfigError(InputError):
    """An invalid configuration value."""


def require(condition: bool, expected: str, got: object, remedy: str = "change the option") -> None:
    """Raise ConfigError unless `condition` holds: the check of a config's `__post_init__`."""
    if not condition:
        raise ConfigError(expected, repr(got), remedy)


def require_finite(values: Mapping[str, Any], remedy: str = "change the option") -> None:
    """Raise ConfigError for a number among named values, or in a tuple or list of them, that is NaN or infinite."""
    for name, value in values.items():
        for number in value if isinstance(value, tuple | list) else (value,):
            is_fraction = isinstance(number, numbers.Real) and not isinstance(number, numbers.Integral)
            require(not is_fraction or math.isfinite(number), f"a finite number for {name}", number, remedy)


class MissingPackageError(InputError):
    """An optional package that is not installed; the remedy is the extra that brings it, and an alternative if any."""

    def __init__(self, package: str, purpose: str, extra: str, alternative: str = "") -> None:
        remedy = f"{install(extra)}, or {alternative}" if alternative else install(extra)
        super().__init__(f"{package} for {purpose}", "an environment without it", remedy)


def install(extra: str) -> str:
    """The command that installs an extra of stmbench, for messages."""
    return f"pip install 'stmbench[{extra}]'"


class PluginError(InputError):
    """A plug-in file that cannot be imported, registers nothing, or violates the mixer contract."""


class CheckpointError(InputError):
    """Weights that are unreadable, unsafe to load, or belong to another model."""


class TableError(InputError):
    """Rows that violate the schema, or a store that this version cannot read."""


class LeftOutError(TableError):
    """A figure that would say nothing, or mislead; the `sentence` says so where the figure would stand."""

    def __init__(self, sentence: str) -> None:
        super().__init__("more to draw", "too little", sentence)
        self.sentence = sentence


class OutputError(InputError):
    """A file or folder that cannot be written."""


class DuplicateNameError(StmbenchError):
    """A name registered twice in one registry."""


class CountError(StmbenchError):
    """An operation that the MAC counter has no rule for: counting it as zero would make it look free."""


class ImageError(StmbenchError):
    """One image that cannot be read: damaged, missing, or in a mode that cannot be converted to RGB."""


class PeerFailureError(StmbenchError):
    """Another process of a distributed run failed while this one waited for it: no unit of the run can continue."""


class UnitError(StmbenchError):
    """One unit of work failed: the message becomes the row's reason, and the other units continue."""


# of an absolute path, not of an address; the file's name stays
FOLDERS = re.compile(r"(?:(?<![\w./])|(?<=file://))(/[^\s/:\"']+)+/(?=[^\s/])")
# torch's refusal to take the moments of one value: a batch of one image whose map has shrunk to one position
LONELY = re.compile(r"Expected more than 1 [a-z ]+ when training, got input size torch\.Size\(\[([\d, ]+)\]\)")


def reason_of(error: BaseException) -> str:
    """One line for a row: the kind of error, unless the message says enough by itself, and its first line."""
    # a traceback inside the message would put this machine's folders into the table
    if (size := LONELY.search(str(error))) and not isinstance(error, StmbenchError):
        return _too_few_values(size[1])
    text = printable(FOLDERS.sub("", " ".join(str(error).split()))[:300])
    if isinstance(error, SystemExit):
        return f"its code called sys.exit({text})"
    return text if isinstance(error, StmbenchError) else f"{type(error).__name__}: {text}"


def _too_few_values(size: str) -> str:
    got = f"1, in a map of {'x'.join(size.split(', '))}"
    expected = "at least 2 values of each channel for a norm that trains"
    return str(
        ConfigError(expected, got, "give --batch-size 2 or more for each process and pass, or a larger --resolution")
    )
