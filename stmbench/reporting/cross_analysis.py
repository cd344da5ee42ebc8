"""What more than one table says.

A section weighs accuracy against cost and ranks each model in everything; another compares measured with published.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import pandas as pd
from matplotlib.figure import Figure
from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from stmbench.errors import TableError
from stmbench.figures.across_analyses import (
    Pair,
    accuracy_from,
    front,
    fronts,
    joined,
    pareto,
    ranked,
    standing,
    standings,
)
from stmbench.figures.plot_data import Point
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Caveat, Cell, Column, Definition, Formula, Plot, Row, Section, Table
from stmbench.tables.labels import is_random, listed
from stmbench.tables.published import compare_with_table3, published
from stmbench.tables.rows import Display, display, number

FRONT: Final = "Whiskers are 95 % intervals; the dashed line joins the models that no other beats in both."
DRAWN: Final[tuple[tuple[str, Callable[[pd.DataFrame], Figure], str, str, str], ...]] = (
    (
        "standing", standing, "Ranks in everything",
        "Where each model stands in each quantity, left is better; bars reach over the ranks that the intervals allow.",
        "A model surely beats another where their 95 % intervals are apart. Rows are ordered by the mean rank, which "
        "weighs all quantities alike: choose what matters to you.",
    ),
    (
        "accuracy_throughput", lambda frame: pareto(frame, "throughput"), "Accuracy and throughput",
        f"Top-1 accuracy against images per second. {FRONT}",
        "Joined on the model, its input's size and the precision; each setting has its own front. Speed hardly depends "
        "on weights.",
    ),
    (
        "accuracy_macs", lambda frame: pareto(frame, "macs"), "Accuracy and MACs",
        f"Top-1 accuracy against multiply-adds of one image. {FRONT}",
        "MACs are counted and have no interval.",
    ),
)  # fmt: skip
MOST: Final = 3  # settings that the lead has a sentence for
DEFINITION: Final = Definition(
    text="A rank is 1 plus the number of models with a better value. The ranks that the intervals allow go from 1 plus "
    "the number of models that are surely better to the number of models less those that are surely worse.",
    formulas=(
        Formula(quantity="a surely beats b", equals="the 95 % intervals of a and b are apart, and a's is the better"),
        Formula(quantity="front", equals="models with no other that is as good in one and better in the other"),
    ),
    source="ours; the front: Pareto's",
    page="docs/report.md",
)


def together_section(frame: pd.DataFrame) -> Section | None:
    """The section across analyses; None where there is one analysis only, or nothing to rank."""
    if frame["analysis"].nunique() < 2:
        return None
    plots = []
    for name, draw, title, shows, measured in DRAWN:
        try:
            figure = draw(frame)
        except TableError:
            continue  # a store without accuracy has no front
        plots.append(Plot(name=name, figure=figure, title=title, shows=shows, measured=measured))
    table = _table(frame)
    if not plots or table is None:
        return None
    return Section(
        name="together",
        heading="Accuracy, cost and rank" if fronts(frame, "macs") else "Ranks",
        lead=_lead(frame),
        plots=tuple(plots),
        tables=(table,),
        definition=DEFINITION,
        caveats=_caveats(frame),
    )


def _table(frame: pd.DataFrame) -> Table | None:
    """Ranks as numbers, with those that the intervals allow."""
    columns = ranked(frame)
    if len(columns) < 2:
        return None
    standings_by = standings(columns)
    first = {model: point for column in reversed(columns.values()) for model, point in column.items()}
    lines = []
    for model, point in first.items():
        cells = [Cell(text=point.name)]
        for found in standings_by.values():
            if model not in found:
                cells.append(Cell(text="–"))
                continue
            rank, best, worst = found[model]
            cells.append(Cell(text=str(rank), detail=f"{best} to {worst}" if best < worst else "", value=float(rank)))
        lines.append(Row(cells=tuple(cells), model=point.model))
    heads = [Column(heading="Model", is_number=False)]
    heads += [Column(heading=said[:1].upper() + said[1:]) for said in columns]
    note = f"1 is best. Small numbers: the ranks that the intervals allow.{_where(columns)}"
    return Table(name="ranks", title="Ranks", columns=tuple(heads), lines=tuple(lines), note=note)


def _lead(frame: pd.DataFrame) -> str:
    groups = fronts(frame, "throughput")
    if not groups:
        return _best_on_average(frame)
    found = [_on_the_front(group, named=len(groups) > 1) for group in groups[:MOST]]
    more = f" {len(groups) - MOST} more settings are in the figure." if len(groups) > MOST else ""
    return f"{' '.join(found)}{more}"


def _on_the_front(pairs: Sequence[Pair], *, named: bool) -> str:
    """The sentence on one setting, with its name where there are several."""
    values = [(cost.value, right.value) for cost, right in pairs]
    places = front(values, more_is_better=True)
    names = list(dict.fromkeys(pairs[place].right.name for place in places))
    models = len({pair.right.model for pair in pairs})
    verb = "is" if len(names) == 1 else "are"
    at = f"At {pairs[0].cost.setting}, " if named and pairs[0].cost.setting else ""
    return f"{at}{listed(names)} {verb} on the front of accuracy and throughput of {models} models."


def _where(columns: Mapping[str, Mapping[str, Point]]) -> str:
    """Which settings the ranks hold in, where the table has others."""
    settings = {said: next(iter(column.values())).setting for said, column in columns.items()}
    named = [f"{said} at {setting}" for said, setting in settings.items() if setting]
    return f" Ranks hold within one setting: {', '.join(named)}." if named else ""


def _best_on_average(frame: pd.DataFrame) -> str:
    columns = ranked(frame)
    found = standings(columns)
    first = {model: point for column in columns.values() for model, point in column.items()}
    ranks = {model: [one[model].rank for one in found.values() if model in one] for model in first}
    best = min(ranks, key=lambda model: sum(ranks[model]) / len(ranks[model]))
    mean = sum(ranks[best]) / len(ranks[best])
    name = first[best].name
    return f"{name} has the best mean rank of {len(first)} models: {mean:.1f} over {len(ranks[best])} quantities."


def _caveats(frame: pd.DataFrame) -> tuple[Caveat, ...]:
    rows = frame[(frame["analysis"] == accuracy_from(frame)) & (frame["metric"] == "accuracy")]
    rows.attrs = frame.attrs
    untrained = tuple(caveat for caveat in caveats(rows) if caveat.kind == "untrained")
    missing = [metric for metric in ("throughput", "macs") if joined(frame, metric) and not fronts(frame, metric)]
    if not missing:
        return untrained
    models = {pair.right.model for metric in missing for pair in joined(frame, metric)}
    why = "one trained model is no front" if len(models) == 1 else "no two trained models have both in one setting"
    what = " or ".join("MACs" if metric == "macs" else metric for metric in missing)
    return (*untrained, Caveat(kind="note", text=f"No figure of accuracy against {what}: {why}."))


HEADINGS: Final = ("Model", "Quantity", "Measured", "Published", "Difference")


def against_published_table(frame: pd.DataFrame) -> RichTable:
    """The rows of `compare_with_published` for a terminal; what was not measured has a dash."""
    table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for place, heading in enumerate(HEADINGS):
        table.add_column(heading.lower(), justify="left" if place < 2 else "right", overflow="fold")
    for cells, _ in _rows(frame):
        table.add_row(*(Text(cell.text) for cell in cells))
    return table


def against_published_section(frame: pd.DataFrame) -> Section:
    """The section of a report."""
    measured = int(frame["measured"].notna().sum())
    sources = [published(name).attrs["source"] for name in dict.fromkeys(frame["table"])]
    lines = [Row(cells=cells, model=model) for cells, model in _rows(frame)]
    table = Table(
        name="beside-published",
        title="Measured and published",
        columns=tuple(Column(heading=heading, is_number=place > 1) for place, heading in enumerate(HEADINGS)),
        lines=tuple(lines),
        note=f"Published: {'; '.join(sources)}. Differences of accuracies are in percentage points, all others "
        "relative; of several seeds the mean is taken. Speeds on other machines are shown for their "
        "order only.",
    )
    return Section(
        name="published",
        heading="Comparison with published figures",
        lead=f"{measured} of {len(frame)} published values have a measured counterpart.",
        tables=(table,),
    )


def _rows(frame: pd.DataFrame) -> Iterator[tuple[tuple[Cell, ...], str]]:
    """(cells, model) of each row."""
    for row in frame.to_dict("records"):
        metric = str(row["metric"])
        shown = display(metric, "" if pd.isna(row["unit"]) else str(row["unit"]), [row["measured"], row["published"]])
        quantity = f"{shown.name}, {shown.unit}" if shown.unit else shown.name
        untrained = is_random(row["weights"]) and "accuracy" in metric
        measured = None if pd.isna(row["measured"]) else float(row["measured"])
        yield (
            (
                Cell(text=str(row["label"])),
                Cell(text=quantity, detail=str(row["column"])),
                Cell(text=number(measured, metric, shown), detail=_detail(row, shown, untrained), value=measured),
                Cell(text=number(row["published"], metric, shown), value=row["published"]),
                _difference(row, untrained),
            ),
            str(row["model"]),
        )


def _detail(row: dict[Any, Any], shown: Display, untrained: bool) -> str:
    words = ["random init"] if untrained else []
    if not pd.isna(row["runs"]) and row["runs"] > 1 and row["deviation"] > 0:  # a cost is the same for every seed
        words.append(f"{row['runs']:.0f} seeds, SD {number(row['deviation'], str(row['metric']), shown)}")
    return ", ".join(words)


def _difference(row: dict[Any, Any], untrained: bool) -> Cell:
    value = float(row["difference"])
    if math.isnan(value) or untrained:  # an untrained model's accuracy is not a reproduction of anything
        return Cell(text="–")
    text = f"{value:+.1f} points" if row["difference_kind"] == "points" else f"{100 * value:+.2f} %"
    return Cell(text=text, value=value)


def published_table(frame: pd.DataFrame) -> Table | None:
    """Parameters and MACs of Table III of Hu et al. alongside ours; None where no model of the table was measured."""
    try:
        table = published("stm_table3_imagenet")
        joined = compare_with_table3(frame, table)
    except TableError:
        return None
    mixers = frame.attrs.get("mixers", {})
    lines = []
    for row in joined.to_dict("records"):
        mixer, metric = str(row["mixer"]), str(row["metric"])
        shown = display(metric, values=[row["measured"], row["published"]])
        name = mixers.get(mixer, {}).get("abbreviation", mixer)
        cells = (
            Cell(text=f"{name} {row['scale']}"),
            Cell(text=f"{shown.name}, {shown.unit}"),
            Cell(text=number(row["measured"], metric, shown), value=row["measured"]),
            Cell(text=number(row["published"], metric, shown), value=row["published"]),
            Cell(text=f"{100 * row['difference']:+.2f}", value=row["difference"]),
        )
        lines.append(Row(cells=cells, model=f"unified_{mixer}_{row['scale']}"))
    return Table(
        name="published",
        title="Counted here and published",
        columns=(
            Column(heading="Model", is_number=False),
            Column(heading="Quantity", is_number=False),
            Column(heading="Here"),
            Column(heading="Published"),
            Column(heading="Difference", unit="%"),
        ),
        lines=tuple(lines),
        note=f"Published: {table.attrs['source']}. Its rows use three conventions of counting MACs; the column 'here' "
        "follows the one of each row, and so differs from the MACs above. See docs/counting.md.",
    )
