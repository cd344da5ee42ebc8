"""What was counted beside what was published."""

from __future__ import annotations

import pandas as pd

from stmbench.errors import TableError

PUBLISHED_COLUMNS = {"params": ("params_m", 1e6), "macs_published_convention": ("macs_g", 1e9)}
PUBLISHED_RESOLUTION = 224


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
    wanted = (
        frame["metric"].isin(list(PUBLISHED_COLUMNS))
        & (frame["kind"] == "summary")
        & frame["value"].notna()
        & frame["stage"].isna()
        & (frame["model"] == "unified_" + frame["mixer"] + "_" + frame["scale"])
        & ((frame["metric"] == "params") | (frame["resolution"] == PUBLISHED_RESOLUTION))
    )
    chosen = frame[wanted.fillna(False).astype(bool)].sort_values("created_utc", kind="stable")
    measured = chosen.drop_duplicates(["mixer", "scale", "metric"], keep="last")
    measured = measured[["mixer", "scale", "metric", "unit", "value"]].rename(columns={"value": "measured"})
    paper = pd.concat(
        [
            table[["mixer", "scale"]].assign(metric=metric, published=table[column] * factor)
            for metric, (column, factor) in PUBLISHED_COLUMNS.items()
        ]
    )
    joined = paper.merge(measured, on=["mixer", "scale", "metric"], how="inner")
    if joined.empty:
        raise TableError(
            "params or macs_published_convention of a model in Table III", "none", "profile a scale from micro to base"
        )
    joined["difference"] = joined["measured"] / joined["published"] - 1
    return joined[["mixer", "scale", "metric", "unit", "measured", "published", "difference"]]
