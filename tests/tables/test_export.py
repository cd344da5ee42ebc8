"""The CSV of a store, and the command that writes it."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from stmbench.commands.export import app
from stmbench.errors import OutputError
from stmbench.tables import COLUMNS, Store
from stmbench.tables.rows import csv_text, write_csv
from tests.tables.frames import profile_frame, profile_rows


def test_csv_keeps_columns_digits_and_nulls() -> None:
    frame = profile_frame()
    back = pd.read_csv(io.StringIO(csv_text(frame)), parse_dates=["created_utc"], float_precision="round_trip")
    assert tuple(back.columns) == COLUMNS
    assert back["value"].tolist() == frame["value"].tolist()
    assert back["model"].isna().tolist() == frame["model"].isna().tolist()
    assert back["created_utc"].iloc[0] == frame["created_utc"].iloc[0]
    assert "<NA>" not in csv_text(frame)


def test_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_csv(profile_frame(), tmp_path / "file" / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_command_prints_or_writes_the_same(tmp_path: Path) -> None:
    store = Store(tmp_path / "D").require_writable()
    store.write("a", profile_rows(["dw_conv"]), metadata={})
    (store.parts / "b.parquet").write_text("damaged")
    printed = CliRunner().invoke(app, [str(store.folder)])
    assert printed.exit_code == 0
    assert "skipped the file b.parquet" in printed.stderr
    written = CliRunner().invoke(app, [str(store.folder), "--out", str(tmp_path / "out.csv")])
    assert written.exit_code == 0
    assert written.stdout == ""
    assert (tmp_path / "out.csv").read_text() == printed.stdout
    assert printed.stdout.startswith("run_id,created_utc,kind")
