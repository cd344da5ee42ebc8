"""Reports as files, each there as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from stmbench.errors import ConfigError, OutputError
from stmbench.reporting.content import Report
from stmbench.reporting.html import html
from stmbench.reporting.latex import latex
from stmbench.reporting.markdown import markdown
from stmbench.reporting.pdf import pdf

# format -> suffix, renderer
FORMATS: Final[dict[str, tuple[str, Callable[[Report], str | bytes]]]] = {
    "html": (".html", html),
    "pdf": (".pdf", pdf),
    "latex": (".tex", latex),
    "markdown": (".md", markdown),
}


def write_report(report: Report, stem: str | Path, formats: Sequence[str] = ("html",)) -> list[Path]:
    """Write `<stem>.html` and so on, in the order of the formats; returns the paths.

    Every place is looked at before anything is rendered, and every file is rendered before it is written.

    Raises:
        ConfigError: an unknown format. OutputError: a place that is a folder, or cannot be written.
    """
    base = Path(stem)
    paths = []
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(f"a format among {', '.join(FORMATS)}", repr(name), "change --format")
        paths.append(base.with_name(base.name + FORMATS[name][0]))
    for path in paths:
        if path.is_dir():
            raise OutputError("a file to write", f"the folder {str(path)!r}", "choose another --out")
    for name, path in zip(formats, paths, strict=True):
        write(path, FORMATS[name][1](report))
    return paths


def write(path: Path, content: str | bytes) -> None:
    """Write a file by way of a temporary one beside it. Raises OutputError where that is not possible."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"to write {path}", error.strerror or str(error), "choose another place") from error
