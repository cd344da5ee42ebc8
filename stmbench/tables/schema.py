"""The table's columns, their types and vocabularies, and the check applied to every table on write and on read.

| type   | pandas dtype          | missing | Parquet              |
|--------|-----------------------|---------|----------------------|
| string | string                | pd.NA   | string               |
| int    | Int64                 | pd.NA   | int64                |
| float  | float64               | NaN     | double               |
| bool   | boolean               | pd.NA   | bool                 |
| time   | datetime64[us, UTC]   | NaT     | timestamp[us, UTC]   |
"""

from __future__ import annotations

import dataclasses
from typing import Final, Literal

import pandas as pd

from stmbench.analyses.registry import metric as registered
from stmbench.errors import TableError

SCHEMA_VERSION: Final = 3  # increase it when a column, a type or a meaning changes, and extend migration

Type = Literal["string", "int", "float", "bool", "time"]


@dataclasses.dataclass(frozen=True)
class Column:
    """One column: its type, whether every row must have it, and what it means."""

    name: str
    type: Type
    meaning: str
    required: bool = False


SCHEMA: Final = (
    Column("run_id", "string", "one invocation of stmbench", required=True),
    Column("created_utc", "time", "when the unit of work ended", required=True),
    Column("kind", "string", "raw (one sample) or summary (derived from samples, or exact)", required=True),
    Column("analysis", "string", "profile, ...", required=True),
    Column("definition", "string", "the exact protocol and its version: profile.v2", required=True),
    Column("model", "string", "full name; null for measurements of the machine (the probe)"),
    Column("baseline", "string", "the other model, for ratios: value = model / baseline"),
    Column("architecture", "string", "unified, timm, ..."),
    Column("mixer", "string", "name in the registry"),
    Column("scale", "string", "nano, micro, tiny, small, base"),
    Column("weights", "string", "source and hash, or 'random:<seed>' for untrained weights"),
    Column("seed", "int", "of the unit of work"),
    Column("dataset", "string", "name and fingerprint"),
    Column("split", "string", "of the dataset"),
    Column("num_images", "int", "images behind the value"),
    Column("device", "string", "cpu, cuda:0"),
    Column("dtype", "string", "fp32, tf32, bf16, fp16"),
    Column("compile", "bool", "whether the model was compiled"),
    Column("resolution", "string", "of the input, px: 224 for a square, 32x64 for a height of 32 and a width of 64"),
    Column("batch_size", "int", "images in one forward pass"),
    Column("stage", "int", "0-based"),
    Column("block", "int", "0-based, within the stage"),
    Column("head", "int", "0-based, within the block"),
    Column("position", "int", "0-based row-major index into the stage's map"),
    Column("step", "int", "training step, 0-based"),
    Column("condition", "string", "a named condition: p50, a part of the network, a direction"),
    Column("level", "float", "a numeric condition: degrees, pixels, eps, a rank"),
    Column("sample", "int", "0-based number of a raw sample (the round, for interleaved timings)"),
    Column("metric", "string", "what the value is"),
    Column("unit", "string", "base unit, one of UNITS"),
    Column("value", "float", "null if the unit of work failed or was skipped"),
    Column("ci_low", "float", "lower end of the 95 % interval"),
    Column("ci_high", "float", "upper end of the 95 % interval"),
    Column("num_samples", "int", "raw samples behind a summary"),
    Column("artifact", "string", "file with an array, relative to the store's folder"),
    Column("status", "string", "ok, failed, skipped, imprecise, inconclusive, suspect (breaks a check)", required=True),
    Column("reason", "string", "why the status is not ok"),
)
COLUMNS: Final = tuple(column.name for column in SCHEMA)
KINDS: Final = ("raw", "summary")
# imprecise: the interval is wider than was asked for; inconclusive: too few samples for an interval or a verdict
STATUSES: Final = ("ok", "failed", "skipped", "imprecise", "inconclusive", "suspect")
# base units only: figures scale them for display, the table never does
UNITS: Final = (
    *("1", "count", "s", "bytes", "bytes/s", "images/s", "px", "bit", "degree", "Hz", "J", "J/image", "W", "celsius"),
    "input_side",
    *("MAC", "MAC/s", "MAC/byte", "MAC/J", "FLOP", "FLOP/s", "FLOP/byte"),
)


def unit_of(metric: str) -> str | None:
    """The unit that a registered metric has in every row; None for a metric that no analysis registered."""
    facts = registered(metric)
    return None if facts is None else facts.unit


def pandas_dtype(column: Column) -> pd.api.extensions.ExtensionDtype | str:
    """The column's dtype in a data frame."""
    dtypes: dict[Type, pd.api.extensions.ExtensionDtype | str] = {
        "string": pd.StringDtype(),
        "int": pd.Int64Dtype(),
        "float": "float64",
        "bool": pd.BooleanDtype(),
        "time": pd.DatetimeTZDtype("us", "UTC"),
    }
    return dtypes[column.type]


def check(frame: pd.DataFrame, where: str = "the table") -> pd.DataFrame:
    """Return `frame` unchanged; raise TableError, naming `where` and the first fault, if it violates the schema."""
    _check_columns(frame, where)
    for column in SCHEMA:
        if column.required and frame[column.name].isna().any():
            raise TableError(
                f"a {column.name} in every row of {where}", _at(frame, frame[column.name].isna()), "set the field"
            )
    _check_words(frame, "kind", KINDS, where)
    _check_words(frame, "status", STATUSES, where)
    _check_words(frame, "unit", UNITS, where)
    _check_units(frame, where)
    _check_values(frame, where)
    return frame


def _check_columns(frame: pd.DataFrame, where: str) -> None:
    names = [str(name) for name in frame.columns]
    for name in names:
        if name not in COLUMNS:
            raise TableError(f"the columns of schema {SCHEMA_VERSION} in {where}", f"an unknown {name!r}", "remove it")
    for name in COLUMNS:
        if name not in names:
            raise TableError(
                f"the columns of schema {SCHEMA_VERSION} in {where}", f"no {name!r}", "add it, with nulls if necessary"
            )
    if tuple(names) != COLUMNS:
        raise TableError(f"the schema's order of columns in {where}", ", ".join(names), "reorder them as COLUMNS")
    for column in SCHEMA:
        dtype, expected = frame[column.name].dtype, pandas_dtype(column)
        # StringDtype differs by storage, which makes no difference to a reader
        same = isinstance(dtype, pd.StringDtype) if column.type == "string" else dtype == expected
        if not same:
            raise TableError(f"{column.name} as {expected} in {where}", str(dtype), "convert the column")


def _check_words(frame: pd.DataFrame, name: str, words: tuple[str, ...], where: str) -> None:
    wrong = frame[name].notna() & ~frame[name].isin(words)
    if wrong.any():
        raise TableError(
            f"{name} in {where} to be one of {', '.join(words)}", repr(frame.loc[wrong, name].iloc[0]), "correct it"
        )


def _check_units(frame: pd.DataFrame, where: str) -> None:
    """A metric keeps its unit; one named for MACs is never counted in FLOPs, nor the other way round."""
    pairs = frame[["metric", "unit"]].drop_duplicates()
    for metric, unit in pairs.itertuples(index=False):
        if pd.isna(metric) != pd.isna(unit):
            raise TableError(f"a metric and its unit in {where}", f"metric {metric}, unit {unit}", "give both or none")
        if pd.isna(metric):
            continue
        expected = unit_of(metric) or unit
        if unit != expected:
            raise TableError(f"{metric} in {expected} in {where}", repr(unit), "convert the values to the base unit")
        for word, other in (("macs", "FLOP"), ("flops", "MAC")):
            if word in metric.split("_") and other in unit:
                raise TableError(
                    f"{metric} counted in {word[:-1].upper()} in {where}", repr(unit), "name the metric for its unit"
                )


def _check_values(frame: pd.DataFrame, where: str) -> None:
    empty = (frame["status"] == "ok") & frame["value"].isna() & frame["artifact"].isna()
    if empty.any():
        raise TableError(
            f"a value or an artifact in every row of {where} with status ok",
            _at(frame, empty),
            "give the value, or the status 'failed' or 'skipped' with a reason",
        )
    unnamed = (frame["status"] == "ok") & frame["metric"].isna()
    if unnamed.any():
        raise TableError(f"a metric in every row of {where} with status ok", _at(frame, unnamed), "name the metric")
    silent = frame["status"].isin(("failed", "skipped")) & frame["reason"].isna()
    if silent.any():
        raise TableError(
            f"a reason in every failed or skipped row of {where}", _at(frame, silent), "say why there is no value"
        )
    crossed = frame["ci_low"] > frame["ci_high"]
    if crossed.any():
        raise TableError(f"ci_low <= ci_high in {where}", _at(frame, crossed), "swap the interval's ends")


def _at(frame: pd.DataFrame, mask: pd.Series) -> str:
    """The first row that the mask selects, for an error message."""
    row = frame[mask.fillna(False).astype(bool)].iloc[0]
    facts = [f"{name} {row[name]}" for name in ("metric", "model") if not pd.isna(row[name])]
    return f"{'none' if not facts else 'not so'} in row {row.name}" + (f" ({', '.join(facts)})" if facts else "")
