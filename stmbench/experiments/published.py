"""From an experiment's `published` to values of the papers, each with the place of what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from stmbench.architectures.catalog import ModelName
from stmbench.errors import ConfigError, UnknownNameError
from stmbench.experiments.experiment import Experiment, ModelLine, PublishedLines
from stmbench.tables.published import PublishedValue, published

FACTS = ("mixer", "scale", "model", "label")


def published_values(experiment: Experiment) -> list[PublishedValue]:
    """A value for each model that a published table of the experiment has, and each column; block by block.

    Cells that the paper left empty are left out, and so are models without a row, unless the file says which it is.

    Raises:
        ConfigError: a model's row matches none of the table's rows, or several; a block names a model that the
            experiment does not have. UnknownNameError: a column that the table does not have, an unknown fact.
    """
    values: list[PublishedValue] = []
    names = [line.model for line in experiment.models]
    for block in experiment.published:
        if block.model is not None and block.model not in names:
            raise UnknownNameError(f"model of `published` in {experiment.name}", block.model, names)
        table = published(block.table)
        for line in experiment.models:
            if block.model in (None, line.model):
                values += _values(block, line, table)
    return values


def _values(block: PublishedLines, line: ModelLine, table: pd.DataFrame) -> list[PublishedValue]:
    row = _row(block, line, table)
    if row is None:
        return []
    return [
        PublishedValue(
            model=line.model,
            label=line.label,
            table=block.table,
            column=name,
            metric=column.metric,
            value=float(f"{float(row[name]) * column.factor:.12g}"),  # 82.7 % is 0.827
            conditions={key: value for key, value in column.conditions.items() if key != "metric"},
        )
        for name, column in block.columns.items()
        if not pd.isna(row[name])
    ]


def _row(block: PublishedLines, line: ModelLine, table: pd.DataFrame) -> Mapping[str, Any] | None:
    own = {**_facts(block, line), **line.row}
    if not own and block.model is None:
        return None  # nothing says which row is this model's
    spoken_of = _matching(table, block.where, block.table)
    rows = _matching(spoken_of, own, block.table)
    if len(rows) == 1:
        return dict(rows.iloc[0])
    said = ", ".join(f"{name} {value}" for name, value in {**block.where, **own}.items()) or "no condition"
    if len(rows) > 1:
        got = f"{len(rows)} rows with {said}"
        raise ConfigError(f"one row of {block.table} for {line.model}", got, "say more in `row` or `where`")
    elsewhere = not spoken_of.empty and not _matching(table, own, block.table).empty  # the block is not about its row
    if block.model is not None or (line.row and not elsewhere):
        got = f"no row with {said}"
        raise ConfigError(f"one row of {block.table} for {line.model}", got, "correct `row` or `where`")
    return None


def _matching(table: pd.DataFrame, wanted: Mapping[str, Any], name: str) -> pd.DataFrame:
    for column, value in wanted.items():
        if column not in table.columns:
            raise UnknownNameError(f"column of {name}", column, list(table.columns))
        table = table[(table[column] == value).fillna(False).astype(bool)]
    return table


def _facts(block: PublishedLines, line: ModelLine) -> dict[str, Any]:
    """What the file says of the model in the table's own words, and what its name says."""
    name = ModelName.parse(line.model)
    known = {"mixer": name.mixer, "scale": name.scale, "model": line.model, "label": line.label}
    for fact in block.match:
        if fact not in known:
            raise UnknownNameError("fact of a model in `match`", fact, FACTS)
    return {fact: known[fact] for fact in block.match}
