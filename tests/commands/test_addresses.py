"""Stores and data sets at addresses on the command line and in Python; where an address is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import stmbench as sb
from stmbench.tables import Store
from stmbench.tables.addresses import end_all
from tests.commands.run import refusal, stmbench
from tests.data.builders import tree
from tests.s3_server import ADDRESS, Bucket
from tests.tables.test_addresses import measured

MODEL = "unified_identity_nano"


def test_an_analysis_writes_and_reads_there(bucket: Bucket, machine: Callable[[str], Path], tmp_path: Path) -> None:
    machine("one")
    images = bucket.send(tree(tmp_path / "pets", {"cat": 3}), "pets")
    options = ("--dataset", images, "--num-images", "2", "--resolution", "32", "--out", ADDRESS)
    done = stmbench("erf", MODEL, *options)
    assert done.exit_code == 0, done.output
    assert "downloading s3://bucket/pets: 3 files" in done.stderr
    assert f"rows     {ADDRESS}/parts" in done.stderr
    assert "lab/store/erf.html" in bucket.names()
    machine("two")
    again = stmbench("erf", MODEL, *options)
    assert "0 units of work measured, 1 taken from the store" in again.stderr, again.output
    assert stmbench("export", ADDRESS).stdout.count(MODEL) > 1
    assert stmbench("store", "compact", ADDRESS).exit_code == 0
    assert [name for name in bucket.names() if name.endswith(".parquet")] == ["lab/store/parts/packed.parquet"]
    machine("three")
    result = sb.erf(MODEL, images=images, num_images=2, resolution="32", out=ADDRESS)
    assert len(result.table) == len(sb.read(ADDRESS).table), "taken from the store"


def test_what_a_failed_command_measured_is_sent(
    bucket: Bucket, machine: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = machine("one")
    monkeypatch.setattr("stmbench.tables.Store.read", _fails)
    measured(folder, "a")
    assert stmbench("export", ADDRESS).exit_code == 2
    assert "lab/store/parts/a.parquet" in bucket.names()


def _fails(*_: object, **__: object) -> None:
    raise sb.errors.TableError("rows", "none", "measure some")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("report", ADDRESS, "--out", "s3://bucket/page"), "a path on this machine for out, got s3://bucket/page"),
        (("export", ADDRESS, "--flat", "s3://bucket/x.csv"), "a path on this machine for flat, got s3://bucket/x.csv"),
        (("dashboard", "s3://bucket/history"), "a path on this machine for history, got s3://bucket/history"),
        (("export", "s3://nobody/store"), "storage that can be read, got s3://nobody/store"),
        (("export", "s5://bucket/store"), "a kind of storage, got 's5'"),
        (("export", "gs://bucket/store"), "gcsfs for gs:// addresses"),
        (("erf", MODEL, "--out", "s3://nobody/store"), "storage that can be read, got s3://nobody/store"),
        (("eval", MODEL, "--dataset", "s3://bucket/none"), "a data set at the address, got s3://bucket/none"),
        (("eval", MODEL, "--checkpoint", "s3://bucket/none"), "a result store, got 's3://bucket/none'"),
    ],
)
def test_refused(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert f"expected {message}" in refusal(*words)
    assert not [path for path in tmp_path.iterdir() if path.name not in ("cache", "results")]


def test_nothing_is_sent_by_who_only_reads(bucket: Bucket, machine: Callable[[str], Path]) -> None:
    measured(machine("one"), "a")
    end_all()
    before = {name: bucket.system.info(f"bucket/{name}")["ETag"] for name in bucket.names()}
    folder = machine("two")
    (folder / "notes.txt").write_text("mine")
    assert stmbench("export", ADDRESS).exit_code == 0
    assert {name: bucket.system.info(f"bucket/{name}")["ETag"] for name in bucket.names()} == before
    assert Store(folder).keys() == ["a"]
