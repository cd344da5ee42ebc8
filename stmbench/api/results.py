"""What a function of the Python API gives back: a table, figures, a report, and the store behind them.

While it runs, progress is shown: as a bar of tqdm's in a notebook, as the command line's display elsewhere.
"""

from __future__ import annotations

import contextlib
import html
import io
import sys
import time
import warnings
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stmbench.analyses.registry import AnalysisSpec, View

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from stmbench.analyses.base import Listener, Progress
    from stmbench.analyses.unit import Report
    from stmbench.tables.rows import Display

SHOWN_ROWS = 50  # of the summary, in a notebook
MOST_COLUMNS = 8
BETWEEN_DRAWS_S = 0.3
# figures are drawn for white paper: in a dark notebook they stand on a card of it
CARD = "display: inline-block; max-width: 100%; padding: 12px; border-radius: 6px; background: white"


class StoreResult:
    """The rows of a store, and what people make of them.

    Attributes:
        table: tidy rows, one value each (`docs/concepts.md` lists the columns).
        store: the folder that holds them; a second call with `out=` there measures only what is missing.
        failures: a line for each unit of work that failed; warnings: caveats about the samples.
        baseline: of a report; None: the control that the rows name, else the first model.
    """

    title = "Store"
    baseline: str | None = None

    def __init__(self, store: Path, table: pd.DataFrame, failures: Iterable[str], warnings: Iterable[str]) -> None:
        self.table, self.store = table, store
        self.failures, self.warnings = tuple(failures), tuple(warnings)
        self._figures: dict[str, Figure] | None = None

    def plot(self, name: str | None = None) -> Mapping[str, Figure] | Figure:
        """The figures by name; with `name`, that one. Raises UnknownNameError where there is none of this name."""
        from stmbench.errors import UnknownNameError

        if self._figures is None:
            self._figures = self._drawn()
        if name is None:
            return self._figures
        if name not in self._figures:
            raise UnknownNameError("figure", name, self._figures)
        return self._figures[name]

    def report(self, path: str | Path = "report.html", *, baseline: str | None = None) -> Path:
        """Write a report; the suffix says which kind: .html, .pdf, .md or .tex. Returns its path.

        `baseline` is the model, or its mixer, that the others are compared with; default: the attribute.
        """
        from stmbench.commands.report import overview
        from stmbench.reporting import build_report, placed, write_report

        frame = placed(self.table, self.store)
        own = self.baseline if (frame["model"] == self.baseline).any() else None
        (written,) = write_report(build_report(frame, first=overview(frame, baseline or own)), Path(path))
        return written

    def _drawn(self) -> dict[str, Figure]:
        from stmbench.reporting.build_report import figures

        return figures(self.table, self.store)

    def _shown_table(self) -> tuple[pd.DataFrame, Sequence[Hashable]]:
        """What a notebook shows, as text, and which columns hold numbers."""
        rows = self.table[(self.table["kind"] == "summary") & self.table["value"].notna()]
        texts, shown = _as_read(rows)
        rows = rows[["analysis", "model", "metric", "condition"]].assign(value=texts, unit=[how.unit for how in shown])
        return rows.dropna(axis="columns", how="all").fillna("–"), ["value"]

    def __repr__(self) -> str:
        models, failed = self.table["model"].nunique(), f", {len(self.failures)} failed" if self.failures else ""
        of = f"{models} model{'' if models == 1 else 's'}"
        return f"<{self.title}: {len(self.table)} rows of {of}{failed}, in {self.store}>"

    def _repr_html_(self) -> str:
        """The table and the first figure, for a notebook."""
        parts = [f"<p><b>{html.escape(self.title)}</b></p>"]
        parts += [f"<p>⚠ {html.escape(text)}</p>" for text in (*self.failures, *self.warnings)]
        shown, numbers = self._shown_table()
        if len(shown):
            parts.append(html_table(shown.head(SHOWN_ROWS), numbers))
        if len(shown) > SHOWN_ROWS:
            parts.append(f"<p>the first {SHOWN_ROWS} of {len(shown)} rows</p>")
        figures = self.plot()
        assert isinstance(figures, Mapping)
        for figure in list(figures.values())[:1]:
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
            svg = buffer.getvalue().partition("?>")[2] or buffer.getvalue()
            parts.append(f'<div style="{CARD}">{svg}</div>')
        return "\n".join(parts)


class Result(StoreResult):
    """What an analysis measured: also a `summary()` for people.

    Attributes:
        measured, reused: units of work that this call measured, and that the store had.
    """

    def __init__(
        self,
        spec: AnalysisSpec,
        store: Path,
        table: pd.DataFrame,
        report: Report,
        shown: str | None,
        warnings: tuple[str, ...],
    ) -> None:
        super().__init__(store, table, report.undone, warnings)
        self.measured, self.reused = report.measured, report.kept
        self.title, self._spec, self._shown = spec.title, spec, shown

    def summary(self) -> pd.DataFrame:
        """A row for each model and a column for each summary value, in the units people use: GMACs, ms, %."""
        return self._wide("shown")

    def _wide(self, of: Literal["shown", "text"]) -> pd.DataFrame:
        from stmbench.figures.plot_data import labels

        frame, names = self.table, labels(self.table)
        rows = frame[(frame["kind"] == "summary") & frame["value"].notna() & frame["model"].notna()].copy()
        varying = [
            column
            for column in ("resolution", "dtype", "batch_size", "stage", "block", "condition", "level", "baseline")
            if rows[column].nunique(dropna=False) > 1
        ]
        if self._shown is not None and rows["definition"].nunique() > 1:
            rows = rows[rows["definition"] == self._shown]
        elif rows["definition"].nunique() > 1:
            varying.append("definition")
        texts, shown = _as_read(rows)
        headings = []
        for row, how in zip(rows.to_dict("records"), shown, strict=True):
            places = [_place(column, row[column]) for column in varying if row[column] == row[column] is not None]
            heading = f"{how.name}, {how.unit}" if how.unit else how.name
            headings.append(" · ".join([heading, *filter(None, places)]))
        values = [value / how.factor for value, how in zip(rows["value"], shown, strict=True)]
        named = [names[str(model)] for model in rows["model"]]
        rows = rows.assign(column=headings, shown=values, text=texts, label=named)
        wide = rows.pivot_table(index="label", columns="column", values=of, aggfunc="last", sort=False)
        wide.index.name, wide.columns.name = "model", None
        return wide

    def print(self) -> None:
        """Print the table that the command line shows."""
        from rich.console import Console

        table = self._spec.view("terminal")
        Console().print(self.summary().to_string() if table is None else table(self._view()))

    def _drawn(self) -> dict[str, Figure]:
        draw = self._spec.view("figures")
        return dict(draw(self._view())) if draw is not None else {}

    def _shown_table(self) -> tuple[pd.DataFrame, Sequence[Hashable]]:
        wide = self._wide("text").fillna("–")
        if len(wide.columns) > MOST_COLUMNS >= len(wide):  # a column for each model fits on the screen
            wide = wide.T.rename_axis(index="quantity", columns=None)
        return wide.reset_index(), [*wide.columns]

    def _view(self) -> View:
        from stmbench.tables import read

        return View(rows=self.table, whole=lambda: read(self.store), folder=self.store, definition=self._shown)


class TrainResult(Result):
    """Trained models.

    Attributes:
        checkpoints: model -> its weights, of the first seed that has any: `checkpoint=` of the other functions.
        weights: model -> seed -> its weights.
    """

    def __init__(self, *measured: Any, weights: Mapping[str, Mapping[int, Path]]) -> None:
        super().__init__(*measured)
        self.weights = weights
        self.checkpoints = {model: next(iter(files.values())) for model, files in weights.items()}


def html_table(frame: pd.DataFrame, numbers: Collection[Hashable] = ()) -> str:
    """The table with the columns of `numbers` to the right and the others to the left; notebooks align all alike."""
    sides = [f' style="text-align: {"right" if name in numbers else "left"}"' for name in frame.columns]

    def row(tag: str, cells: Iterable[object]) -> str:
        texts = [f"<{tag}{side}>{html.escape(str(cell))}</{tag}>" for cell, side in zip(cells, sides, strict=True)]
        return f"<tr>{''.join(texts)}</tr>"

    lines = [row("td", cells) for cells in frame.itertuples(index=False, name=None)]
    return "\n".join(["<table>", f"<thead>{row('th', frame.columns)}</thead>", "<tbody>", *lines, "</tbody></table>"])


def _as_read(rows: pd.DataFrame) -> tuple[list[str], list[Display]]:
    """The text of each row's value, and how its metric is shown: in one unit, which the largest of its values sets."""
    from stmbench.tables.rows import display, number

    of = {
        metric: display(str(metric), found["unit"].iloc[0], found["value"]) for metric, found in rows.groupby("metric")
    }
    shown = [of[metric] for metric in rows["metric"]]
    return [number(*cell) for cell in zip(rows["value"], rows["metric"], shown, strict=True)], shown


def _place(column: str, value: object) -> str:
    """'stage 3', 'p50', '224 px': where a value was measured."""
    if column in ("condition", "dtype", "definition"):
        return str(value)
    if column == "resolution":
        return f"{value} px"
    if column == "stage":
        return f"stage {int(str(value)) + 1}"
    number = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{column.replace('_', ' ')} {number}"


def in_notebook() -> bool:
    """Whether this is a Jupyter kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and type(shell).__name__ != "TerminalInteractiveShell"


@contextlib.contextmanager
def listener_of(wanted: bool) -> Iterator[Listener | None]:
    """A display for an analysis, closed at the end; None where none is wanted or a notebook has no tqdm."""
    if not wanted:
        yield None
    elif not in_notebook():
        from rich.console import Console

        from stmbench.commands.terminal import ProgressLine

        with ProgressLine(Console(stderr=True), left="about {} left") as line:
            yield line
    else:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # without ipywidgets tqdm draws with text
                from tqdm.auto import tqdm

                bar = tqdm(total=1.0, leave=False, bar_format="{desc} {bar} {postfix}")
        except ImportError:
            yield None
            return
        try:
            yield NotebookBar(bar)
        finally:
            bar.close()


class NotebookBar:
    """A listener that moves a bar of tqdm's."""

    def __init__(self, bar: Any) -> None:
        self._bar, self._step, self._drawn = bar, "", 0.0

    def __call__(self, event: Progress) -> None:
        """Show where the run stands, unless it was shown a moment ago."""
        from stmbench.tables.labels import duration

        step, now = event.text.partition(", round")[0], time.monotonic()
        if step == self._step and now - self._drawn < BETWEEN_DRAWS_S:
            return
        self._step, self._drawn = step, now
        self._bar.total = event.total or 1.0
        self._bar.n = min(event.done, self._bar.total)
        self._bar.set_description_str(event.text, refresh=False)
        left = "" if event.seconds_left is None else f"about {duration(event.seconds_left)} left"
        self._bar.set_postfix_str(left, refresh=False)
        self._bar.refresh()
