"""Data sets at addresses, on a local S3 server: read as from a folder, downloaded once, whole and as they are now."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from stmbench.data import downloads
from stmbench.data.detection.sets import open_detection_set
from stmbench.data.downloads import downloaded
from stmbench.data.sets import open_set
from stmbench.errors import InputError, OutputError
from stmbench.experiments.planning import Resources
from stmbench.tables.object_storage import ObjectFolder
from tests.data.builders import encoded, imagenet, tree, webdataset
from tests.s3_server import Bucket


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    downloaded.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "stmbench" / "data"


@pytest.fixture
def got(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the objects that were downloaded."""
    names, get = list[str](), ObjectFolder.get

    def noted(self: ObjectFolder, place: str, target: Path) -> None:
        names.append(place)
        get(self, place, target)

    monkeypatch.setattr(ObjectFolder, "get", noted)
    return names


def again() -> None:
    """What the next process begins with."""
    downloaded.cache_clear()


def assert_same(address: str, path: Path | str, split: str = "test") -> None:
    there, here = open_set(address, split=split), open_set(str(path), split=split)
    assert (there.name, there.split, there.classes) == (here.name, here.split, here.classes)
    assert there.fingerprint() == here.fingerprint(), "the same unit of work, wherever the images are"
    assert [there.read(index)[1] for index in range(len(there))] == [here.read(index)[1] for index in range(len(here))]


def test_class_folders_lists_and_shards(bucket: Bucket, tmp_path: Path) -> None:
    pets = tmp_path / "pets"
    tree(pets / "train", {"cat": 2, "dog": 1})
    tree(pets / "val", {"dog": 2})
    assert_same(bucket.send(pets, "sets/pets"), pets)
    assert_same(bucket.send(imagenet(tmp_path / "in1k", [3, 1, 2]), "in1k"), tmp_path / "in1k")
    for number in range(3):
        webdataset(tmp_path / "shards" / f"val-{number:03}.tar", [number, 7])
    address = bucket.send(tmp_path / "shards", "shards")
    assert_same(address, tmp_path / "shards")
    assert_same(f"{address}/val-{{000..001}}.tar", f"{tmp_path}/shards/val-{{000..001}}.tar")
    assert_same(f"{address}/val-*.tar", f"{tmp_path}/shards/val-*.tar")
    assert_same(f"{address}/val-002.tar", f"{tmp_path}/shards/val-002.tar")


def test_a_detection_set(bucket: Bucket, tmp_path: Path) -> None:
    coco = tmp_path / "coco"
    (coco / "annotations").mkdir(parents=True)
    (coco / "val2017").mkdir()
    (coco / "val2017" / "1.png").write_bytes(encoded(1))
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, 10, 10], "area": 100, "iscrowd": 0}
    box["segmentation"] = [[2, 2, 12, 2, 12, 12, 2, 12]]
    content = {"images": [{"id": 1, "file_name": "1.png", "width": 40, "height": 32}], "annotations": [box]}
    content["categories"] = [{"id": 1, "name": "cat"}]
    (coco / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    assert len(open_detection_set(bucket.send(coco, "coco"), split="val")) == 1


def test_it_is_downloaded_once_and_kept_equal(bucket: Bucket, tmp_path: Path, got: list[str]) -> None:
    pets = tree(tmp_path / "pets", {"cat": 2, "dog": 1})
    address = bucket.send(pets, "pets")
    assert len(open_set(address)) == len(open_set(address)) == len(got) == 3
    again()
    open_set(address)
    assert len(got) == 3
    bucket.system.rm_file("bucket/pets/cat/000.png")
    bucket.system.pipe_file("bucket/pets/dog/002.png", encoded(9))
    again()
    found = open_set(address)
    assert len(found) == 2
    assert got[3:] == ["dog/002.png"]
    assert found.read(1)[0].getpixel((0, 0)) == (180, 63, 200)


def test_an_interrupted_download_goes_on(
    bucket: Bucket, tmp_path: Path, got: list[str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = bucket.send(tree(tmp_path / "pets", {"cat": 20, "dog": 20}), "pets")
    get = ObjectFolder.get

    def failing(self: ObjectFolder, place: str, target: Path) -> None:
        if place == "dog/030.png":
            target.write_bytes(b"half of it")
            raise InputError("storage that can be read", "none", "check the network")
        get(self, place, target)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectFolder, "get", failing)
        with pytest.raises(InputError, match="check the network"):
            open_set(address)
    assert not list(cache.rglob("030.png")), "a file is whole or not there"
    before = len(got)
    again()
    assert len(open_set(address)) == 40
    assert 1 <= len(got) - before <= 40 - before + 1


def test_shards_of_other_splits_stay_there(bucket: Bucket, tmp_path: Path, got: list[str]) -> None:
    webdataset(tmp_path / "s" / "train-000.tar", [1, 2])
    webdataset(tmp_path / "s" / "val-000.tar", [3])
    address = bucket.send(tmp_path / "s", "s")
    assert len(open_set(address)) == 1
    assert got == ["val-000.tar"]
    assert len(open_set(address, split="train")) == 2
    again()
    open_set(address)
    assert sorted(got) == ["train-000.tar", "val-000.tar"], "one split's shards do not push out another's"


def test_what_cannot_be_downloaded(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    with pytest.raises(InputError, match="s3://bucket/nothing, where there is none"):
        open_set("s3://bucket/nothing")
    with pytest.raises(InputError, match=r"got s3://bucket/n-\*.tar, where there is none"):
        open_set("s3://bucket/n-*.tar")
    address = bucket.send(tree(tmp_path / "pets", {"cat": 1}), "pets")
    usage: Any = shutil.disk_usage("/")
    with monkeypatch.context() as patch:
        patch.setattr(downloads.shutil, "disk_usage", lambda _: usage._replace(free=1000))
        with pytest.raises(InputError, match=r"expected room for s3://bucket/pets, got 0.0 GiB free"):
            open_set(address)
    assert not list(cache.rglob("*.png"))
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    with pytest.raises(OutputError, match="set XDG_CACHE_HOME"):
        open_set(address)


def test_a_plan_asks_whether_it_is_there(bucket: Bucket, tmp_path: Path, got: list[str]) -> None:
    address = bucket.send(tree(tmp_path / "pets", {"cat": 1}), "pets")
    assert Resources(data={"imagenet": address}).place("imagenet") == (address, None)
    with pytest.raises(InputError, match="nothing at s3://bucket/pats"):
        Resources(data={"imagenet": "s3://bucket/pats"})
    assert got == []
