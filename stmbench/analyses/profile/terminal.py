"""The overview for a terminal, within 100 columns."""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from stmbench.analyses.profile.overview import Line, lines
from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.display_units import number
from stmbench.figures.plot_data import Point
from stmbench.reporting.caveats import troubles

NARROWEST, WIDEST = 12, 28  # columns of a model's name


def profile_table(frame: pd.DataFrame) -> Table:
    """One row per model and conditions. Raises TableError where the table has no profile.

    A throughput or ratio whose interval is wider than asked for carries an asterisk, which the caption explains;
    failed and skipped units stand in the caption with their reasons.
    """
    chosen = frame[frame["analysis"] == "profile"]
    chosen.attrs = frame.attrs
    if chosen.empty:
        raise TableError("rows of the analysis 'profile'", "none", "run `stmbench profile`")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left", show_edge=False)
    table.add_column("model", min_width=NARROWEST, max_width=WIDEST, overflow="fold")
    for heading in ("params\nM", "MACs\nG", "images/s\n95 % interval", "ratio to\nfirst", "p50\nms", "p99\nms"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("peak\nMiB", justify="right", no_wrap=True)
    table.add_column("rank", justify="right", no_wrap=True)
    found = lines(chosen)
    for line in found:
        table.add_row(
            Text(line.subject.label),  # not markup: a name may have brackets
            _value(line.params, "params"),
            _value(line.macs, "macs"),
            _with_interval(line.throughput),
            "1"
            if line.subject.model == line.baseline and line.ratio is None
            else _marked(line.ratio, "throughput_ratio"),
            _value(line.p50, "latency"),
            _value(line.p99, "latency"),
            _value(line.peak_memory, "peak_memory"),
            "–" if line.ranks is None else line.ranks.words,
        )
    table.caption = _caption(chosen, found)
    return table


def _value(point: Point | None, metric: str) -> str:
    return number(None if point is None else point.value, metric)


def _marked(point: Point | None, metric: str) -> str:
    text = _value(point, metric)
    return text if point is None or point.errors is None or point.resolved else f"{text}*"


def _with_interval(point: Point | None) -> Text:
    text = Text(_marked(point, "throughput"))
    if point is not None and point.errors is not None:
        text.append(f"\n{number(point.low, 'throughput')}–{number(point.high, 'throughput')}", style="dim")
    elif point is not None and point.rounds is not None:
        text.append(f"\n{point.rounds}", style="dim")
    return text


def _caption(frame: pd.DataFrame, found: list[Line]) -> Text | None:
    notes = []
    shown = [point for line in found for point in (line.throughput, line.ratio) if point is not None]
    if any(point.errors is not None and not point.resolved for point in shown):
        notes.append("* the 95 % interval is wider than was asked for (--target-width)")
    for trouble in troubles(frame):
        times = f" ({trouble.times} times)" if trouble.times > 1 else ""
        notes.append(f"{trouble.model}: {trouble.status}{times}, {trouble.reason}")
    return Text("\n".join(notes), style="dim") if notes else None


def terminal(view: View) -> Table:
    """What the command prints. Raises TableError where the rows hold nothing to show."""
    return profile_table(view.rows)
