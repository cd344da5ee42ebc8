"""`stmbench store compact`: what it prints, what a run finds afterwards, and how it refuses."""

from __future__ import annotations

from pathlib import Path

import stmbench as sb
from stmbench.tables import Store
from tests.commands.run import refusal, stmbench
from tests.tables.frames import failed_row

PROFILE = ("profile", "--no-timing", "--resolution", "32", "--models")
BOTH = "unified_dw_conv_nano,unified_identity_nano"


def test_a_run_finds_its_merged_units_and_measures_single_ones_again(tmp_path: Path) -> None:
    out = ("--out", str(tmp_path))
    assert stmbench(*PROFILE, BOTH, *out).exit_code == 0
    before, store = Store(tmp_path).read(), Store(tmp_path)
    done = stmbench("store", "compact", str(tmp_path))
    assert done.exit_code == 0
    assert f"2 parts merged; {tmp_path} holds 2 units of work in one file" in done.stderr
    again = stmbench("store", "compact", str(tmp_path))
    assert f"0 parts merged; {tmp_path} holds 2 units of work in one file" in again.stderr
    assert stmbench(*PROFILE, BOTH, *out).exit_code == 0
    assert [path.name for path in store.parts.iterdir()] == ["packed.parquet"]
    assert store.read().equals(before)
    assert stmbench(*PROFILE, "unified_identity_nano", *out, "--fresh").exit_code == 0
    fresh = store.read()
    assert len(fresh) == len(before)
    times = fresh.groupby("model")["created_utc"].max() - before.groupby("model")["created_utc"].max()
    assert times["unified_dw_conv_nano"].total_seconds() == 0 < times["unified_identity_nano"].total_seconds()
    assert sb.compact_store(tmp_path) == 1


def test_damage_is_named_and_no_store_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "s").require_writable()
    store.write("a", [failed_row()], metadata={})
    (store.parts / "b.parquet").write_bytes(b"PAR1")
    done = stmbench("store", "compact", str(store.folder))
    assert done.exit_code == 0
    assert "warning: left the file b.parquet as it is: " in done.stderr
    assert "1 part merged" in done.stderr
    assert refusal("store", "compact", str(tmp_path)).startswith("expected a result store, got ")
    assert refusal("store", "compcat", str(tmp_path)).startswith("expected a command of")
