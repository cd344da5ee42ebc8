"""Stores at addresses, on a local S3 server: two machines see one store, and nothing is lost or half there."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stmbench.errors import InputError, MissingPackageError, OutputError, UnknownNameError
from stmbench.tables import Store, addresses, mirror, object_storage
from stmbench.tables.addresses import end_all, fetched_store, is_there, mirror_of, sent_at_the_end, shown
from stmbench.tables.files import LARGE
from stmbench.tables.mirror import Mirror
from stmbench.tables.object_storage import ObjectFolder, is_address
from tests.s3_server import ADDRESS, Bucket
from tests.tables.frames import failed_row, profile_rows

ARRAY = "maps.npy"


def measured(folder: Path, key: str, *, array: bytes | None = b"array") -> Store:
    """Write a unit with an array."""
    store = Store(folder).require_writable()
    rows = profile_rows()
    if array is not None:
        path = store.artifact(key, ARRAY)
        path.write_bytes(array)
        rows = [dataclasses.replace(rows[0], artifact=store.place(path))]
    store.write(key, rows, metadata={"models": ["m"]})
    return store


def test_what_is_an_address() -> None:
    assert all(map(is_address, ("s3://b/x", "gs://b", "abfs://c@a/x", "memory://x")))
    assert not any(map(is_address, ("results/x", "C:\\x", "c://x", "photos", "s3:/b/x", "timm:resnet18", "")))


def test_another_machine_has_what_one_measured(bucket: Bucket, machine: Callable[[str], Path]) -> None:
    store = measured(machine("one"), "a")
    before = store.read()
    end_all()
    assert bucket.names() == ["lab/store/parts/a.maps.npy", "lab/store/parts/a.parquet"]
    there = Store(machine("two"))
    pd.testing.assert_frame_equal(there.read(), before)
    assert there.has("a")
    measured(there.folder, "b")
    end_all()
    assert shown(there.folder / "parts") == f"{ADDRESS}/parts"
    assert Store(machine("one")).keys() == ["a", "b"]


def test_what_was_removed_or_merged_is_so_everywhere(bucket: Bucket, machine: Callable[[str], Path]) -> None:
    for key in "abc":
        measured(machine("one"), key)
    end_all()
    two = Store(machine("two")).require_writable()
    two.remove("a")
    two.compact()
    end_all()
    kept = [f"lab/store/parts/{name}" for name in ("b.maps.npy", "c.maps.npy", "packed.parquet")]
    assert bucket.names() == kept
    one = Store(machine("one"))
    assert one.keys() == ["b", "c"]
    assert sorted(path.name for path in one.parts.iterdir() if path.suffix == ".parquet") == ["packed.parquet"]


def test_a_part_is_never_there_before_its_arrays(
    bucket: Bucket, machine: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put, sent = ObjectFolder.put, list[str]()

    def failing(self: ObjectFolder, source: Path, place: str) -> object:
        if place.endswith(ARRAY):
            raise OutputError("storage", "none", "wait")
        sent.append(place)
        return put(self, source, place)

    folder = machine("one")
    measured(folder, "a")
    measured(folder, "b", array=None)
    monkeypatch.setattr(ObjectFolder, "put", failing)
    with pytest.raises(OutputError):
        end_all()
    assert sent == []
    assert bucket.names() == []


def test_without_the_network_nothing_is_lost(
    bucket: Bucket, machine: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = machine("one")
    measured(folder, "a")

    def failing(self: ObjectFolder, source: Path, place: str) -> None:
        with object_storage._reaching(place, self.remedy):
            raise ConnectionError("the network is down")

    with monkeypatch.context() as patch:
        patch.setattr(ObjectFolder, "put", failing)
        with pytest.raises(OutputError, match=f"nothing is lost: it is in {folder}"):
            end_all()
        measured(folder, "b")
        with pytest.raises(KeyboardInterrupt), sent_at_the_end():
            raise KeyboardInterrupt  # the user's own reason comes first
        assert "the network is down" in capsys.readouterr().err
    assert bucket.names() == []
    Store(machine("one")).require_writable()
    end_all()
    assert [name for name in bucket.names() if name.endswith("parquet")] == [
        "lab/store/parts/a.parquet",
        "lab/store/parts/b.parquet",
    ]


def test_it_is_sent_while_work_goes_on(
    bucket: Bucket, machine: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "EVERY_S", 0.01)
    measured(machine("one"), "a")
    deadline = time.monotonic() + 30
    while "lab/store/parts/a.parquet" not in bucket.names():
        assert time.monotonic() < deadline, "what a killed process measured has to be there"
        time.sleep(0.02)
    end_all()


def test_large_files_come_when_they_are_needed(bucket: Bucket, machine: Callable[[str], Path]) -> None:
    one = measured(machine("one"), "a", array=bytes(LARGE))
    weights = one.folder / "checkpoints" / "run" / "last.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    end_all()
    two = Store(machine("two"))
    array, copy = two.parts / f"a.{ARRAY}", two.folder / weights.relative_to(one.folder)
    assert not array.exists()
    assert not copy.exists()
    assert two.has("a"), "it is there, if not here"
    assert two.read()["artifact"].notna().any()
    assert is_there(copy)
    assert not is_there(copy.with_name("best.safetensors"))
    assert two.artifact("a", ARRAY).stat().st_size == LARGE
    assert addresses.fetched(copy).read_bytes() == b"weights"


def test_another_size_there_is_damage(bucket: Bucket, machine: Callable[[str], Path]) -> None:
    measured(machine("one"), "a", array=bytes(LARGE))
    end_all()
    bucket.system.pipe_file("bucket/lab/store/parts/a.maps.npy", b"cut")
    assert not Store(machine("two")).has("a")


def test_what_is_replaced_there_is_replaced_here_and_work_done_here_stays(
    bucket: Bucket, machine: Callable[[str], Path]
) -> None:
    measured(machine("one"), "a")
    end_all()
    two = measured(machine("two"), "a", array=b"other")
    end_all()
    one = machine("one")
    np.testing.assert_equal((one / "parts" / f"a.{ARRAY}").read_bytes(), b"other")
    # written here, but the process was killed before it was sent; and there meanwhile
    (one / "parts" / f"a.{ARRAY}").write_bytes(b"mine")
    bucket.system.pipe_file("bucket/lab/store/parts/a.maps.npy", b"theirs")
    assert (machine("one") / "parts" / f"a.{ARRAY}").read_bytes() == b"mine"
    assert two.folder != one


def test_workers_of_a_run_leave_sending_to_it(
    bucket: Bucket, machine: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = machine("one")
    measured(folder, "a")
    end_all()
    monkeypatch.setattr(addresses, "_OPEN", {})  # a process that knows the folder alone
    monkeypatch.setattr(mirror.multiprocessing, "parent_process", lambda: object())
    measured(folder, "b")
    own = mirror_of(folder)
    assert isinstance(own, Mirror)
    assert own._thread is None
    assert mirror_of(folder.parents[3]) is None


def test_processes_of_a_machine_share_what_was_sent(bucket: Bucket, tmp_path: Path) -> None:
    one, other = (Mirror(ADDRESS, tmp_path / "home") for _ in range(2))
    store = measured(one.folder, "a")
    assert one.push() == 2
    assert other.pull() == 0, "it is here: nothing is fetched over it"
    (store.parts / f"a.{ARRAY}").write_bytes(b"newer, and not yet sent")
    assert other.pull() == 0
    assert (store.parts / f"a.{ARRAY}").read_bytes() == b"newer, and not yet sent"
    assert one.push() == 1
    assert other.push() == 0, "what one sent the other does not send again"


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("s3://nobody/store", InputError, "storage that can be read, got s3://nobody/store"),
        ("s4://bucket/store", UnknownNameError, "did you mean s3"),
        ("s3://", InputError, "an address such as s3://bucket/folder"),
    ],
)
def test_addresses_that_lead_nowhere(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, error: type[InputError], message: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(error, match=message):
        fetched_store(address)
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(MissingPackageError, match=r"stmbench\[s3\]"):
        ObjectFolder("s3://bucket/x")
    with pytest.raises(MissingPackageError, match=r"stmbench\[gcs\]"):
        ObjectFolder("gs://bucket/x")


def test_a_cache_that_cannot_be_written(
    bucket: Bucket, machine: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(machine("one"), "a")
    end_all()
    monkeypatch.setattr(addresses, "_OPEN", {})
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    with pytest.raises(OutputError, match="set XDG_CACHE_HOME"):
        fetched_store(ADDRESS)


def test_failed_units_are_rows_there_too(bucket: Bucket, machine: Callable[[str], Path]) -> None:
    store = Store(machine("one")).require_writable()
    store.write("a", [failed_row()], metadata={})
    end_all()
    assert Store(machine("two")).read()["status"].tolist() == ["failed"]
