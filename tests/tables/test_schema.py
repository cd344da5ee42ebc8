"""The schema's check, as a table of faults, and rows as frames."""

from __future__ import annotations

import dataclasses
import datetime

import numpy as np
import pandas as pd
import pytest

from stmbench.analyses.registry import metrics
from stmbench.errors import TableError
from stmbench.tables import COLUMNS, Row, check, frame_of
from stmbench.tables.schema import UNITS
from tests.tables.frames import WHEN, profile_frame, profile_rows

DESIGN = """
run_id created_utc kind analysis definition model baseline architecture mixer scale weights seed dataset split
num_images device dtype compile resolution batch_size stage block head position step condition level sample metric
unit value ci_low ci_high num_samples artifact status reason
"""


def test_columns_are_the_designs() -> None:
    assert list(COLUMNS) == DESIGN.split()
    assert [field.name for field in dataclasses.fields(Row)] == DESIGN.split()
    assert {metric.unit for metric in metrics().values()} <= set(UNITS)


def test_a_good_frame_passes_unchanged() -> None:
    frame = profile_frame()
    assert check(frame) is frame
    assert set(frame["resolution"]) == {"224"}
    assert frame["batch_size"].dtype == "Int64"
    assert frame["value"].dtype == "float64"
    assert frame["compile"].dtype == "boolean"
    assert isinstance(frame["model"].dtype, pd.StringDtype)
    assert str(frame["created_utc"].dtype) == "datetime64[us, UTC]"


def test_no_rows_is_a_frame_with_the_columns() -> None:
    assert tuple(check(frame_of([])).columns) == COLUMNS


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "sumary"}, "kind in the rows to be one of raw, summary, got 'sumary'"),
        ({"status": "unresolved"}, "status in the rows to be one of ok, failed, skipped, imprecise, inconclusive"),
        ({"unit": "ms", "metric": "wait"}, "unit in the rows to be one of"),
        ({"metric": "macs", "unit": "FLOP"}, "macs in MAC in the rows, got 'FLOP'"),
        ({"metric": "stage_macs", "unit": "FLOP"}, "stage_macs counted in MAC"),
        ({"metric": "stage_flops", "unit": "MAC"}, "stage_flops counted in FLOP"),
        ({"metric": "latency", "unit": "count"}, "latency in s in the rows, got 'count'"),
        ({"metric": None}, "a metric and its unit"),
        ({"unit": None}, "a metric and its unit"),
        ({"metric": None, "unit": None}, "a metric in every row"),
        ({"value": None}, "a value or an artifact"),
        ({"value": None, "status": "failed"}, "a reason in every failed or skipped row"),
        ({"ci_low": 2.0, "ci_high": 1.0}, "ci_low <= ci_high"),
        ({"run_id": None}, "run_id in every row"),
        ({"model": 5}, "model to be text, got 5"),
        ({"resolution": 224.5}, "resolution to be text, got 224.5"),
        ({"batch_size": True}, "batch_size to be an integer"),
        ({"value": "fast"}, "value to be a number"),
        ({"compile": 1}, "compile to be true or false"),
        ({"created_utc": datetime.datetime(2026, 1, 1)}, "a datetime with a time zone"),
    ],
)
def test_faults_of_rows(fields: dict, words: str) -> None:
    row = dataclasses.replace(profile_rows()[0], **fields)
    with pytest.raises(TableError, match=words):
        frame_of([row])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.assign(extra=1), "an unknown 'extra'"),
        (lambda f: f.drop(columns="reason"), "no 'reason'"),
        (lambda f: f[list(reversed(COLUMNS))], "the schema's order"),
        (lambda f: f.assign(value=f["value"].astype("string")), "value as float64"),
        (lambda f: f.assign(seed=f["seed"].astype("float64")), "seed as Int64"),
        (lambda f: f.assign(created_utc=f["created_utc"].dt.tz_localize(None)), "created_utc as"),
    ],
)
def test_faults_of_frames(change, words: str) -> None:
    with pytest.raises(TableError, match=words):
        check(change(profile_frame()))


def test_numpy_scalars_and_other_zones_are_fine() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=2))
    row = dataclasses.replace(
        profile_rows()[0],
        value=np.float32(1.5),
        resolution=np.int64(224),
        compile=np.bool_(True),
        created_utc=WHEN.astimezone(zone),
    )
    frame = frame_of([row, profile_rows()[1]])
    assert frame["value"].iloc[0] == 1.5
    assert frame["created_utc"].iloc[0] == WHEN
