"""What only several analyses can say: accuracy against cost, and where each model stands in everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from stmbench.errors import TableError
from stmbench.figures.across_analyses import Pair, accuracy_from, front, fronts, pareto, ranked, standing, standings
from stmbench.figures.plot_data import Point
from stmbench.reporting.caveats import caveats, listed
from stmbench.reporting.content import Caveat, Cell, Column, Definition, Formula, Plot, Row, Section, Table

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
        lines.append(Row(cells=tuple(cells), key=point.key))
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
    return tuple(caveat for caveat in caveats(rows) if caveat.kind == "untrained")
