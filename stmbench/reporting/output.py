"""Reports as files, each there as a whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from stmbench.errors import OutputError, UnknownNameError
from stmbench.reporting.content import Report
from stmbench.reporting.formats.html import html
from stmbench.reporting.formats.latex import latex
from stmbench.reporting.formats.markdown import markdown
from stmbench.reporting.formats.pdf import pdf
from stmbench.tables.printable import printable_in
from stmbench.tables.writing import write_file

# format -> suffix, renderer
FORMATS: Final[dict[str, tuple[str, Callable[[Report], str | bytes]]]] = {
    "html": (".html", html),
    "pdf": (".pdf", pdf),
    "latex": (".tex", latex),
    "markdown": (".md", markdown),
}


def write_report(report: Report, stem: str | Path, formats: Sequence[str] = ("html",)) -> list[Path]:
    """Write the report at `places(stem, formats)`, in the order of the formats; returns the paths.

    Each file is rendered as a whole before it is written, with control characters escaped.

    Raises:
        UnknownNameError: an unknown format. ConfigError: a package that a format needs is not there; files of the
            formats before it stay. OutputError: a place that is a folder, or cannot be written.
    """
    paths, report = places(stem, formats), printable_in(report)
    for name, path in zip(formats, paths, strict=True):
        write_file(path, FORMATS[name][1](report))
    return paths


def places(stem: str | Path, formats: Sequence[str]) -> list[Path]:
    """`<stem>.html` and so on; an ending of these formats that the stem has already is not doubled.

    Raises:
        UnknownNameError: an unknown format. OutputError: a place that is a folder.
    """
    for name in formats:
        if name not in FORMATS:
            raise UnknownNameError("format", name, FORMATS)
    endings = [FORMATS[name][0] for name in formats]
    base = Path(stem)
    base = base.with_suffix("") if base.suffix in endings else base
    paths = [base.with_name(base.name + ending) for ending in endings]
    for path in paths:
        if path.is_dir():
            raise OutputError("a file to write", f"the folder {str(path)!r}", "choose another --out")
    return paths
