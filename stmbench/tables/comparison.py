"""What was measured beside what was published."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Final

import pandas as pd

from stmbench.errors import TableError
from stmbench.tables.schema import METRIC_UNITS
from stmbench.tables.sides import in_words
from stmbench.tables.weights import recipe_and_seed

PUBLISHED_COLUMNS = {"params": ("params_m", 1e6), "macs_published_convention": ("macs_g", 1e9)}
PUBLISHED_RESOLUTION = 224
# a row that has one of these is of a part of the model or of a special condition: it has to be asked for
SPECIAL: Final = ("baseline", "stage", "block", "head", "position", "condition", "level")
COLUMNS: Final = (
    *("model", "label", "table", "column", "metric", "unit", "weights", "measured", "ci_low", "ci_high"),
    *("runs", "deviation", "published", "difference", "difference_kind"),
)
# of rows that agree in these, and in all of their weights but the seed, the mean is taken
SAME: Final = ("analysis", "definition", "dataset", "split", "num_images", "device", "dtype", "compile", "resolution")
POINTS, RELATIVE = "points", "relative"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedValue:
    """One value of a paper, and where the table has what was measured.

    Attributes:
        table, column: of `results/published`.
        value: in the table's base units.
        conditions: columns of the table and their values. None asks for null, and so does leaving out a column of
            SPECIAL; any other column that is left out may be anything.
    """

    model: str
    table: str
    column: str
    metric: str
    value: float
    label: str | None = None
    conditions: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def beside_published(frame: pd.DataFrame, lines: Iterable[PublishedValue]) -> pd.DataFrame:
    """Each published value beside the newest summary row that measured the same, or the mean over its seeds.

    Args:
        frame: a table; rows that are not ok have measured nothing.

    Returns:
        A row a line, in their order, with COLUMNS. `difference` is measured minus published in percentage points for
        accuracies ('points' in `difference_kind`), measured / published - 1 for all else ('relative'). Without a
        measurement `measured` and `difference` are NaN. `runs` are the seeds, `deviation` the standard deviation over
        them; a row of several has no interval.

    Raises:
        TableError: a condition on a column that the table does not have.
    """
    summaries = frame[(frame["kind"] == "summary") & (frame["status"] == "ok") & frame["value"].notna()]
    newest = summaries.sort_values("created_utc", kind="stable")
    return pd.DataFrame([_beside(newest, line) for line in lines], columns=list(COLUMNS))


def _beside(rows: pd.DataFrame, line: PublishedValue) -> dict[str, Any]:
    found = rows[(rows["model"] == line.model) & (rows["metric"] == line.metric)]
    for name, value in {**dict.fromkeys(SPECIAL), **line.conditions}.items():
        if name not in found.columns:
            raise TableError("a condition on a column of the table", repr(name), "correct the published column")
        wanted = found[name].isna() if value is None else (found[name] == _as_held(name, value))
        found = found[wanted.fillna(False).astype(bool)]
    kind = POINTS if METRIC_UNITS.get(line.metric) == "1" and line.metric.startswith("accuracy") else RELATIVE
    known = {
        "model": line.model,
        "label": line.label or line.model,
        "table": line.table,
        "column": line.column,
        "metric": line.metric,
        "unit": METRIC_UNITS.get(line.metric),
        "published": line.value,
        "difference_kind": kind,
    }
    if found.empty:
        return {**known, "measured": float("nan"), "difference": float("nan")}
    row, values = found.iloc[-1], _seeds(found)
    measured = float(values.mean())
    difference = 100 * (measured - line.value) if kind == POINTS else measured / line.value - 1
    taken = {name: row[name] for name in ("unit", "weights")}
    ends = {name: row[name] if len(values) == 1 else float("nan") for name in ("ci_low", "ci_high")}
    spread = {"runs": len(values), "deviation": float(values.std(ddof=1)) if len(values) > 1 else float("nan")}
    return {**known, **taken, **ends, **spread, "measured": measured, "difference": difference}


def _as_held(column: str, value: Any) -> Any:
    return in_words(value) if column == "resolution" else value


def _seeds(found: pd.DataFrame) -> pd.Series:
    """The newest value of each seed, of rows (the newest last) that otherwise are as the newest."""
    names = pd.DataFrame(found["weights"].map(recipe_and_seed).tolist(), index=found.index, columns=["recipe", "seed"])
    alike = pd.concat([found[list(SAME)].astype(object), names["recipe"]], axis=1)
    alike = alike.where(alike.notna(), None)
    same = (alike == alike.iloc[-1]) | (alike.isna() & alike.iloc[-1].isna())
    chosen = found[same.all(axis=1)]
    return chosen.groupby(names["seed"].loc[chosen.index])["value"].last().astype(float)


def compare_with_table3(frame: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Parameters and MACs, both in base units, joined on mixer and scale.

    Args:
        frame: a table with summary rows of `params` and `macs_published_convention`; models with options in their
            names, other input sizes than the paper's and single stages are left out.
        table: `published("stm_table3_imagenet")`.

    Returns:
        Columns mixer, scale, metric, unit, measured, published, difference (measured / published - 1), in the paper's
        order.

    Raises:
        TableError: nothing to compare.
    """
    lines, facts = [], []
    for metric, (column, factor) in PUBLISHED_COLUMNS.items():
        conditions = {} if metric == "params" else {"resolution": PUBLISHED_RESOLUTION}
        for mixer, scale, value in table[["mixer", "scale", column]].itertuples(index=False):
            lines.append(
                PublishedValue(
                    model=f"unified_{mixer}_{scale}",
                    table="stm_table3_imagenet",
                    column=column,
                    metric=metric,
                    value=value * factor,
                    conditions=conditions,
                )
            )
            facts.append((mixer, scale))
    joined = beside_published(frame, lines)
    joined[["mixer", "scale"]] = facts
    joined = joined[joined["measured"].notna()].reset_index(drop=True)
    if joined.empty:
        raise TableError(
            "params or macs_published_convention of a model in Table III", "none", "profile a scale from micro to base"
        )
    return joined[["mixer", "scale", "metric", "unit", "measured", "published", "difference"]]
