"""One self-contained HTML page of a profile: summary, figures, table. It asks nothing of any network."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jinja2
import pandas as pd

from stmbench import __version__
from stmbench.errors import OutputError, TableError
from stmbench.figures import profile_figures
from stmbench.figures.points import Point
from stmbench.figures.quantities import number
from stmbench.reporting.captions import CAPTIONS
from stmbench.reporting.overview import Line, lines
from stmbench.reporting.summary import summarise
from stmbench.reporting.svg import inline


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of the table: what is shown, its interval below it, and the base-unit value it is sorted by."""

    text: str
    detail: str = ""
    value: float | None = None


# heading, unit, the line's field, the metric whose display it takes
COLUMNS: Final = (
    ("Parameters", "M", "params", "params"),
    ("MACs", "G", "macs", "macs"),
    ("Activations", "M", "activations", "activations"),
    ("Throughput", "images/s", "throughput", "throughput"),
    ("Latency", "p50, ms", "p50", "latency"),
    ("Latency", "p99, ms", "p99", "latency"),
    ("Peak memory", "MiB", "peak_memory", "peak_memory"),
    ("Energy", "J/image", "energy", "energy"),
    ("Achieved", "GMAC/s", "achieved", "achieved_macs_per_second"),
    ("Of peak", "%", "peak_share", "peak_share"),
)
INTERVALS: Final = ("throughput",)  # shown in the table; the figures show the rest


def write_page(frame: pd.DataFrame, path: str | Path, *, title: str, metadata: Mapping[str, Any]) -> Path:
    """Write the page of the frame's rows of analysis 'profile', at once.

    Args:
        frame: a table with a store's attrs.
        metadata: see `summary.summarise`.

    Raises:
        TableError: no row of a profile. OutputError: the file cannot be written.
    """
    path = Path(path)
    text = render(frame, title=title, metadata=metadata)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"to write {path}", error.strerror or str(error), "choose another place") from error
    return path


def render(frame: pd.DataFrame, *, title: str, metadata: Mapping[str, Any]) -> str:
    """The page as text; see `write_page`."""
    chosen = frame[frame["analysis"] == "profile"]
    chosen.attrs = frame.attrs
    if chosen.empty:
        raise TableError("rows of the analysis 'profile'", "none", "run `stmbench profile`")
    overview = lines(chosen)
    shown = [column for column in COLUMNS if any(getattr(line, column[2]) is not None for line in overview)]
    template = _environment().get_template("profile.html.j2")
    return template.render(
        title=title,
        version=__version__,
        summary=summarise(chosen, overview, metadata),
        figures=[
            (name, CAPTIONS[name], inline(figure, name, title=CAPTIONS[name].title, description=CAPTIONS[name].shows))
            for name, figure in profile_figures(chosen).items()
        ],
        columns=[(heading, unit) for heading, unit, _, _ in shown],
        has_ranks=any(line.rank is not None for line in overview),
        lines=[(line.label, line.model, [_cell(line, column) for column in shown], _rank(line)) for line in overview],
        any_unresolved=any(line.throughput is not None and not line.throughput.resolved for line in overview),
        rows=len(chosen),
    )


def _cell(line: Line, column: tuple[str, str, str, str]) -> Cell:
    _, _, field, metric = column
    point: Point | None = getattr(line, field)
    if point is None:
        return Cell(text="–")
    detail = ""
    if field in INTERVALS and point.errors is not None:
        detail = f"{number(point.low, metric)} to {number(point.high, metric)}"
    return Cell(text=number(point.value, metric) + ("" if point.resolved else "*"), detail=detail, value=point.value)


def _rank(line: Line) -> Cell:
    if line.rank is None:
        return Cell(text="–")
    return Cell(
        text=f"{line.rank.level:.0f}",
        detail=f"{number(line.rank.value, 'rank_probability')} %",
        value=line.rank.level,
    )


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("stmbench.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
