"""The project's look: fonts, the canvas that every figure is drawn on, its axes, and how it is saved."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from stmbench.errors import OutputError
from stmbench.tables.files import replacing

INK, MUTED, GRID = "#1b1b1b", "#6b6b6b", "#e4e4e0"
HEAT: Final = LinearSegmentedColormap.from_list("heat", ["#fdfdfb", "#fbd8a0", "#ee8a3c", "#b5302a", "#4a0d2e"])
MARK: Final = "#00A08F"  # on a heat map
WIDTH: Final = 7.0  # inches
LONGEST: Final = 34  # characters of a line of a label
STYLE: Final[Any] = {  # matplotlib types each key; a plain dict says as much
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial", "sans-serif"],
    "font.size": 9,
    "text.parse_math": False,  # a dollar sign in a model's name is a dollar sign
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.handlelength": 3.2,  # of a stroke that can be told from others
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # text stays text (it can be searched, read out and is small), and nothing depends on the day or on chance
    "svg.fonttype": "none",
    "svg.hashsalt": "stmbench",
}


@contextmanager
def canvas(
    height: float, *, width: float = WIDTH, columns: int = 1, sharey: bool = True
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of `width` x `height` inches with a row of axes. pyplot and its state are not involved."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, columns, squeeze=False, sharey=sharey)[0]
        layout = figure.get_layout_engine()
        if isinstance(layout, ConstrainedLayoutEngine):
            layout.set(w_pad=0.1, h_pad=0.08)
        yield figure, list(axes)


def heading(axes: Axes, title: str, subtitle: str = "") -> None:
    """A bold title over a grey line with the conditions, both flush left."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=22 if subtitle else 8)
    if subtitle:
        axes.annotate(
            subtitle,
            (0, 1),
            (0, 9),
            "axes fraction",
            textcoords="offset points",
            color=MUTED,
            fontsize=8.5,
            va="center",
        )


def rows_axis(axes: Axes, labels: list[str]) -> None:
    """Named rows from the top down, with no axis line: the names are the axis."""
    axes.set_yticks(range(len(labels)), [shorten(label) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


def rows_width(labels: list[str]) -> float:
    """Inches for a figure of named rows: long names take their room beside the plot, not from it."""
    return WIDTH + 0.07 * max(0, max(map(letters, labels)) - 16)


def shorten(label: str) -> str:
    """A label that fits a figure: a long one takes two lines, broken after a separator where there is one.

    Of one too long for two lines the middle is left out, as both ends of a model's name matter.
    """
    if len(label) <= LONGEST:
        return label
    if len(label) > 2 * LONGEST:
        return f"{label[:LONGEST]}\n…{label[len(label) - LONGEST + 1 :]}"
    for separators in (" ", r"[.]|(?=\[)", r"[_,:/-]", ""):
        places = [match.end() for match in re.finditer(separators, label)] if separators else [LONGEST]
        fitting = [place for place in places if place <= LONGEST and len(label) - place <= LONGEST]
        if fitting:
            break
    place = min(fitting, key=lambda place: abs(2 * place - len(label)))
    return f"{label[:place].rstrip()}\n{label[place:].lstrip()}"


def letters(label: str) -> int:
    """How many letters wide the label is, shortened."""
    return max(map(len, shorten(label).split("\n")))


def rows_height(count: int, *, row: float = 0.34, rest: float = 1.3) -> float:
    """Inches for a figure of `count` named rows."""
    return rest + row * max(count, 2)


def log_axis(axes: Axes, which: str, low: float, high: float) -> None:
    """A log axis from `low` to `high` with plain numbers: a decade is not assumed, since costs often span less."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    (axes.set_xlim if which == "x" else axes.set_ylim)(low, high)
    ratio = high / low
    if ratio < 4:
        ticks = [
            tick for tick in MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high) if low <= tick <= high
        ]
        axis.set_major_locator(FixedLocator(ticks))
    else:
        subs = (1.0, 2.0, 3.0, 5.0, 7.0) if ratio < 12 else (1.0, 2.0, 5.0) if ratio < 300 else (1.0,)
        axis.set_major_locator(LogLocator(subs=subs, numticks=20))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def limits(values: list[float], *, room: float = 1.5) -> tuple[float, float]:
    """A log axis' ends: `room` times beyond the extremes, and at least a factor of three in all."""
    low, high = min(values) / room, max(values) * room
    missing = 3 / (high / low)
    return (low, high) if missing <= 1 else (low / math.sqrt(missing), high * math.sqrt(missing))


def lay_out(figure: Figure) -> None:
    """Place the axes once, as each `savefig` would, which draws every artist without a result to do so."""
    engine = figure.get_layout_engine()
    if engine is not None:
        before = figure.canvas
        FigureCanvasSVG(figure)  # texts are as wide as they will be in the file
        engine.execute(figure)
        figure.set_canvas(before)
        with matplotlib.rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
            figure.set_layout_engine(None)  # "none" leaves one that does nothing, for which all is drawn all the same


def save(figure: Figure, stem: str | Path) -> list[Path]:
    """Write `<stem>.svg` and `<stem>.png` (200 dpi), each at once; the same figure gives the same bytes.

    Raises OutputError where the folder cannot be made or written.
    """
    base, paths = Path(stem), []
    with matplotlib.rc_context(STYLE):
        lay_out(figure)
    try:
        for suffix, metadata in ((".svg", {"Date": None}), (".png", {"Software": None})):
            path = base.with_name(base.name + suffix)
            with replacing(path) as temporary, matplotlib.rc_context(STYLE):
                figure.savefig(temporary, format=suffix[1:], dpi=200, metadata=metadata)
            paths.append(path)
    except OSError as error:
        raise OutputError(f"to write {base}", error.strerror or str(error), "choose another folder") from error
    return paths
