"""The papers' own figures, and measured values compared with them.

Each table is `results/published/<name>.csv`, with its source in the first line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Final

import pandas as pd

from stmbench.bundled import bundled, published_names
from stmbench.errors import TableError, UnknownNameError
from stmbench.tables.labels import recipe_and_seed, resolution_text, run_and_epoch, run_label
from stmbench.tables.schema import unit_of

MARK: Final = "# source: "


def published(name: str) -> pd.DataFrame:
    """One table of a paper, in the paper's units; `attrs["source"]` says which.

    Raises:
        UnknownNameError: no such table. TableError: it has no source line.
    """
    path = bundled("published") / f"{name}.csv"
    if name not in published_names():
        raise UnknownNameError("published table", name, published_names())
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    if not first.startswith(MARK):
        raise TableError(f"a first line that starts with {MARK!r} in {path.name}", repr(first), "say where it is from")
    frame = pd.read_csv(path, skiprows=1)
    frame.attrs["source"] = first.removeprefix(MARK)
    return frame


PUBLISHED_COLUMNS = {"params": ("params_m", 1e6), "macs_published_convention": ("macs_g", 1e9)}
PUBLISHED_RESOLUTION = 224
# a row with one of these describes a part of the model or a special condition: only an explicit condition selects it
SPECIAL: Final = ("baseline", "stage", "block", "head", "position", "condition", "level")
COLUMNS: Final = (
    *("model", "label", "table", "column", "metric", "unit", "weights", "measured", "ci_low", "ci_high"),
    *("runs", "deviation", "published", "difference", "difference_kind"),
)
# rows that agree in these, and in their weights except for the seed, are averaged
SAME: Final = ("analysis", "definition", "dataset", "split", "num_images", "device", "dtype", "compile", "resolution")
POINTS, RELATIVE = "points", "relative"
EPOCH: Final = "epoch"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedValue:
    """One value of a paper, and the conditions that select the measured one.

    Attributes:
        table, column: of `results/published`.
        value: in base units.
        conditions: column of the measured table -> value. None selects nulls, and so does leaving out a column of
            SPECIAL; any other column that is left out may hold anything. `epoch` is no column: it selects weights of
            that epoch of a training, which may be its last.
    """

    model: str
    table: str
    column: str
    metric: str
    value: float
    label: str | None = None
    conditions: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def compare_with_published(frame: pd.DataFrame, published: Iterable[PublishedValue]) -> pd.DataFrame:
    """Each published value next to the newest summary row of the same quantity, or to the mean over its seeds.

    Args:
        frame: a table; rows whose status is not ok are ignored.

    Returns:
        One row per published value, in their order, with COLUMNS. `difference` is measured minus published in
        percentage points for accuracies ('points' in `difference_kind`), measured / published - 1 otherwise
        ('relative'). Without a measurement `measured` and `difference` are NaN. `runs` is the number of seeds,
        `deviation` the standard deviation over them; a mean over several seeds has no interval.

    Raises:
        TableError: a condition on a column that the table does not have.
    """
    summaries = frame[(frame["kind"] == "summary") & (frame["status"] == "ok") & frame["value"].notna()]
    newest = summaries.sort_values("created_utc", kind="stable")
    groups = dict(iter(newest.groupby(["model", "metric"], sort=False)))
    none = newest.iloc[:0]
    compared = [_compared(groups.get((value.model, value.metric), none), value) for value in published]
    return pd.DataFrame(compared, columns=list(COLUMNS))


def _compared(matching: pd.DataFrame, published: PublishedValue) -> dict[str, Any]:
    """The published value and the measured one, of rows of its model and metric with the newest last."""
    conditions = {**dict.fromkeys(SPECIAL), **published.conditions}
    if (epoch := conditions.pop(EPOCH, None)) is not None:
        runs = matching["weights"].map(run_and_epoch)
        matching = matching[[run is not None and run[1] == epoch for run in runs]]
    for name, value in conditions.items():
        if name not in matching.columns:
            raise TableError("a condition on a column of the table", repr(name), "correct the published column")
        if matching.empty:
            continue
        selected = matching[name].isna() if value is None else (matching[name] == _as_stored(name, value))
        matching = matching[selected.fillna(False).astype(bool)]
    kind = POINTS if unit_of(published.metric) == "1" and "accuracy" in published.metric else RELATIVE
    known = {
        "model": published.model,
        "label": published.label or published.model,
        "table": published.table,
        "column": published.column,
        "metric": published.metric,
        "unit": unit_of(published.metric),
        "published": published.value,
        "difference_kind": kind,
    }
    if matching.empty:
        return {**known, "measured": float("nan"), "difference": float("nan")}
    row, values = matching.iloc[-1], _seeds(matching)
    measured = float(values.mean())
    difference = 100 * (measured - published.value) if kind == POINTS else measured / published.value - 1
    taken = {name: row[name] for name in ("unit", "weights")}
    ends = {name: row[name] if len(values) == 1 else float("nan") for name in ("ci_low", "ci_high")}
    spread = {"runs": len(values), "deviation": float(values.std(ddof=1)) if len(values) > 1 else float("nan")}
    return {**known, **taken, **ends, **spread, "measured": measured, "difference": difference}


def _as_stored(column: str, value: Any) -> Any:
    return resolution_text(value) if column == "resolution" else value


def _seeds(matching: pd.DataFrame) -> pd.Series:
    """The newest value of each seed, of the rows (newest last) that agree with the newest one otherwise."""
    runs = matching["weights"].map(run_label, na_action="ignore")
    names = pd.DataFrame(runs.map(recipe_and_seed).tolist(), index=matching.index, columns=["recipe", "seed"])
    alike = pd.concat([matching[list(SAME)].astype(object), names["recipe"]], axis=1)
    alike = alike.where(alike.notna(), None)
    same = (alike == alike.iloc[-1]) | (alike.isna() & alike.iloc[-1].isna())
    chosen = matching[same.all(axis=1)]
    return chosen.groupby(names["seed"].loc[chosen.index])["value"].last().astype(float)


def compare_with_table3(frame: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Parameters and MACs compared with Table III, both in base units, joined on mixer and scale.

    Args:
        frame: a table with summary rows of `params` and `macs_published_convention`; models with options in their
            names, input sizes other than the paper's and single stages are ignored.
        table: `published("stm_table3_imagenet")`.

    Returns:
        Columns mixer, scale, metric, unit, measured, published, difference (measured / published - 1), in the paper's
        order.

    Raises:
        TableError: nothing to compare.
    """
    published, names = [], []
    for metric, (column, factor) in PUBLISHED_COLUMNS.items():
        conditions = {} if metric == "params" else {"resolution": PUBLISHED_RESOLUTION}
        for mixer, scale, value in table[["mixer", "scale", column]].itertuples(index=False):
            published.append(
                PublishedValue(
                    model=f"unified_{mixer}_{scale}",
                    table="stm_table3_imagenet",
                    column=column,
                    metric=metric,
                    value=value * factor,
                    conditions=conditions,
                )
            )
            names.append((mixer, scale))
    joined = compare_with_published(frame, published)
    joined[["mixer", "scale"]] = names
    joined = joined[joined["measured"].notna()].reset_index(drop=True)
    if joined.empty:
        raise TableError(
            "params or macs_published_convention of a model in Table III", "none", "profile a scale from micro to base"
        )
    return joined[["mixer", "scale", "metric", "unit", "measured", "published", "difference"]]
