"""From a table to a report: each analysis's section, the summary before them, and the models that can be hidden.

`tables` and `figures` are every analysis's, for whoever shows a store with several of them.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pandas as pd
from matplotlib.figure import Figure
from rich.console import RenderableType

from stmbench import __version__
from stmbench.analyses.registry import AnalysisSpec, View, spec_of, specs
from stmbench.errors import OutputError, TableError, UnknownNameError
from stmbench.figures.palette import style_of
from stmbench.figures.plot_data import labels
from stmbench.reporting.caveats import of_stores
from stmbench.reporting.content import LegendEntry, Report, Section
from stmbench.reporting.cross_analysis import together_section
from stmbench.reporting.facts import facts, samples_text
from stmbench.reporting.formats.html import html
from stmbench.reporting.formats.latex import latex
from stmbench.reporting.formats.markdown import markdown
from stmbench.reporting.formats.pdf import pdf
from stmbench.reporting.model_table import generic_section, with_the_rest
from stmbench.tables.files import write_file
from stmbench.tables.labels import unfit_warnings
from stmbench.tables.rows import printable_frame, printable_in


@contextmanager
def _without_collector() -> Iterator[None]:
    """Search for no garbage meanwhile: a figure is a hundred thousand objects that stay until it is drawn, and looking
    through them again and again takes a fifth of the time of a large report."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def tables(frame: pd.DataFrame, folder: Path = Path()) -> Iterator[tuple[str, RenderableType]]:
    """(value of the column `analysis`, table) of each analysis that the frame has results of."""
    for spec, name in _written():
        tabulate = spec.view("terminal")
        if tabulate is None:
            continue
        try:
            yield name, tabulate(View(rows=_rows_of(frame, (name,)), whole=frame, folder=folder))
        except TableError:
            continue  # only failures, or nothing at all


@_without_collector()
def figures(frame: pd.DataFrame, folder: Path) -> dict[str, Figure]:
    """Name -> figure, of every analysis in the frame. `folder` is the store's, where maps are."""
    found: dict[str, Figure] = {}
    for spec in specs():
        draw, rows = spec.view("figures"), _rows_of(frame, spec.writes)
        held = rows["value"].notna() | rows["artifact"].notna()  # maps have no value
        usable = rows[(rows["status"] != "failed") & held]
        usable.attrs = frame.attrs
        if draw is not None and len(usable):
            found |= draw(View(rows=usable, whole=frame, folder=folder))
    return found


def sections(frame: pd.DataFrame) -> tuple[Section, ...]:
    """A section for each analysis in the table: registered ones in their order, then the others by name; before them
    what only several can say. An analysis without a section gets a plain table."""
    present = set(frame["analysis"])
    known = [name for _, name in _written() if name in present]
    whole = together_section(frame)
    found = [] if whole is None else [whole]
    for name in [*known, *sorted(present - set(known))]:
        spec, chosen = spec_of(name), _rows_of(frame, (name,))
        write = None if spec is None else spec.view("section")
        if write is None:
            found.append(generic_section(chosen, frame, heading=None if spec is None else spec.title))
        else:
            found.append(with_the_rest(_captioned(write(View(rows=chosen, whole=frame)), chosen), chosen))
    return tuple(found)


def _captioned(section: Section, rows: pd.DataFrame) -> Section:
    """The section with what its rows know of data and weights in every caption."""
    text = samples_text(rows)
    plots = [replace(plot, measured=f"{plot.measured} {text}".strip()) for plot in section.plots]
    return replace(section, plots=tuple(plots))


def _written() -> list[tuple[AnalysisSpec, str]]:
    return [(spec, name) for spec in specs() for name in spec.writes]


def _rows_of(frame: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    rows = frame[frame["analysis"].isin(names)]
    rows.attrs = frame.attrs
    return rows


@_without_collector()
def build_report(frame: pd.DataFrame, *, title: str | None = None, first: tuple[Section, ...] = ()) -> Report:
    """The content of a report.

    Args:
        frame: checked rows of one or more stores with their attrs and `artifact` as paths that can be opened
            (`sources.read_stores`); `attrs["command"]` is said where it is there.
        title: default: what was compared.
        first: sections that stand before those of the analyses.
    """
    frame = printable_frame(frame)
    found = (*first, *sections(frame))
    return Report(
        title=title or _title(frame),
        lead=_lead(frame, found),
        headline=next((section.headline for section in found if section.headline is not None), None),
        facts=facts(frame),
        caveats=of_stores(frame),
        subjects=_subjects(frame),
        sections=found,
        rows=len(frame),
        version=__version__,
    )


def _title(frame: pd.DataFrame) -> str:
    models = list(labels(frame).values())
    if not models:
        return "Report of a store"
    return f"{models[0]}" if len(models) == 1 else f"{len(models)} models compared"


def _lead(frame: pd.DataFrame, found: tuple[Section, ...]) -> str:
    names = [section.heading.lower() for section in found]
    models = frame["model"].dropna().nunique()
    if frame["value"].notna().any():
        above = "".join(f"{text[0].upper()}{text[1:]}. " for text in unfit_warnings(frame.attrs.get("warnings", [])))
        return above + f"{models} {'model' if models == 1 else 'models'}: {'; '.join(names)}."
    return "Nothing could be measured: every unit of work failed or was skipped. The reasons are below."


def _subjects(frame: pd.DataFrame) -> tuple[LegendEntry, ...]:
    """The models in the table's order, named as in the figures."""
    mixers, names = frame.attrs.get("mixers", {}), labels(frame)
    rows = frame.loc[frame["model"].notna(), ["model", "mixer"]].drop_duplicates("model")
    found = []
    for row in rows.to_dict("records"):
        model = str(row["model"])
        style = style_of(model if pd.isna(row["mixer"]) else str(row["mixer"]), mixers)
        found.append(LegendEntry(model=model, label=names[model], colour=style.colour))
    return tuple(found)


# format -> suffix, renderer
FORMATS: Final[dict[str, tuple[str, Callable[[Report], str | bytes]]]] = {
    "html": (".html", html),
    "pdf": (".pdf", pdf),
    "latex": (".tex", latex),
    "markdown": (".md", markdown),
}


@_without_collector()
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
