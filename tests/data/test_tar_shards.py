"""Tar files: WebDataset shards, and class folders inside."""

from __future__ import annotations

import gzip
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stmbench.data import tar_shards
from stmbench.data.sets import open_set
from stmbench.errors import ConfigError, ImageError, InputError
from tests.data.builders import BROKEN, encoded, picture, tar, webdataset
from tests.data.test_folders import contents


def test_one_webdataset_shard(tmp_path: Path) -> None:
    images = open_set(str(webdataset(tmp_path / "birds.tar", [2, 0, 2])))
    assert (images.name, images.split) == ("birds", "all")
    assert contents(images) == [(0, 2), (1, 0), (2, 2)]
    assert (images.classes, images.num_classes) == (None, 3)
    assert images.title(1) == "birds.tar/000001.png"


PATTERNS = {"folder": "", "stars": "*.tar", "braces": "birds-{000..001}.tar"}


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS.keys())
def test_several_shards(tmp_path: Path, pattern: str) -> None:
    folder = tmp_path / "birds"
    webdataset(folder / "birds-000.tar", [1, 0])
    webdataset(folder / "birds-001.tar", [1], first=2)
    images = open_set(str(folder / pattern))
    assert images.name == "birds"
    assert contents(images) == [(0, 1), (1, 0), (2, 1)]


def test_splits_by_name_and_by_folder(tmp_path: Path) -> None:
    webdataset(tmp_path / "a" / "birds-train-000.tar", [0, 1])
    webdataset(tmp_path / "a" / "birds-val-000.tar", [0])
    webdataset(tmp_path / "b" / "train" / "000.tar", [0, 1])
    webdataset(tmp_path / "b" / "val" / "000.tar", [0])
    for name in ("a", "b"):
        by_split = {split: open_set(str(tmp_path / name), split=split) for split in ("train", "test")}
        assert {split: (len(images), images.split) for split, images in by_split.items()} == {
            "train": (2, "train"),
            "test": (1, "val"),
        }
    with pytest.raises(ConfigError, match="the split 'dev' in a, got train, val"):
        open_set(str(tmp_path / "a"), split="dev")


def test_class_folders_inside(tmp_path: Path) -> None:
    members = [("pets/dog/1.png", encoded(1)), ("pets/cat/0.png", encoded(0)), ("pets/dog/2.v2.png", encoded(2))]
    images = open_set(str(tar(tmp_path / "pets.tar", members)))
    assert images.classes == ("cat", "dog")
    assert sorted(contents(images)) == [(0, 0), (1, 1), (2, 1)]


def test_without_classes_there_are_no_labels(tmp_path: Path) -> None:
    images = open_set(str(webdataset(tmp_path / "birds.tar", [None, None])))
    assert images.labels() is None
    assert contents(images) == [(0, None), (1, None)]


def test_pictures_beside_an_image_are_not_images(tmp_path: Path) -> None:
    members = [("0.png", encoded(0)), ("0.mask.png", encoded(5)), ("0.cls", b"0")]
    assert contents(open_set(str(tar(tmp_path / "a.tar", members)))) == [(0, 0)]


REFUSED = {
    "half labelled": (
        lambda file: webdataset(file, [1, None]),
        r"a \.cls for every image of s, or none, got 1 of 2",
    ),
    "no number": (lambda file: tar(file, [("0.png", encoded(0)), ("0.cls", b"cat")]), r"got 'cat' in 0\.cls of s\.tar"),
    "no images": (lambda file: tar(file, [("0.txt", b"0")]), r"images in the shards, got none in s"),
    "compressed": (lambda file: file.write_bytes(gzip.compress(b"0" * 999)), r"a plain tar file, got s\.tar"),
    "truncated": (
        lambda file: file.write_bytes(webdataset(file, [0, 1, 2]).read_bytes()[:560]),
        r"images in the shards, got none in s \(s\.tar ends inside of 000000\.png",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_shards_that_cannot_be_used_are_refused(tmp_path: Path, make, message: str) -> None:
    make(tmp_path / "s.tar")
    with pytest.raises(InputError, match=message):
        open_set(str(tmp_path / "s.tar"))


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    file = tar(tmp_path / "s.tar", [("0.png", BROKEN), ("0.cls", b"0"), ("1.png", encoded(1)), ("1.cls", b"1")])
    images = open_set(str(file))
    with pytest.raises(ImageError, match=r"^s\.tar/0\.png: "):
        images.read(0)
    assert images.read(1)[1] == 1


def test_read_from_several_threads(tmp_path: Path) -> None:
    images = open_set(str(webdataset(tmp_path / "s.tar", list(range(12)))))
    with ThreadPoolExecutor(8) as pool:
        pairs = list(pool.map(images.read, [*range(12)] * 8))
    for number, (image, label) in zip([*range(12)] * 8, pairs, strict=True):
        assert label == number
        assert image.tobytes() == picture(number).tobytes()


def test_an_index_is_kept_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    indexed, index_shard = list[str](), tar_shards.index_shard

    def noted(file: Path, *rest: Any) -> tar_shards.Shard:
        indexed.append(file.name)
        return index_shard(file, *rest)

    monkeypatch.setattr(tar_shards, "KEEP_FROM", 3)
    monkeypatch.setattr(tar_shards, "index_shard", noted)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    webdataset(tmp_path / "a" / "0.tar", [1, 0, 1])
    webdataset(tmp_path / "a" / "1.tar", [1], first=3)
    members = [("._x.png", b"junk"), *((f"{name}.png", encoded(name)) for name in range(4, 8))]
    lost = tar(tmp_path / "b" / "2.tar", members)
    lost.write_bytes(lost.read_bytes()[:4_700])
    first, last = open_set(str(tmp_path / "a")), open_set(str(lost))
    assert indexed == ["0.tar", "1.tar", "2.tar"]
    again, once_more = open_set(str(tmp_path / "a")), open_set(str(lost))
    assert indexed[3:] == ["1.tar"], "too small to be kept"
    assert contents(again) == contents(first) == [(0, 1), (1, 0), (2, 1), (3, 1)]
    assert again.fingerprint() == first.fingerprint()
    assert contents(once_more) == contents(last)
    assert once_more.damaged == last.damaged != ()
    assert once_more.remarks == last.remarks != ()
    webdataset(tmp_path / "a" / "0.tar", [0, 0, 1, 1])
    assert contents(open_set(str(tmp_path / "a")))[0] == (0, 0)
    next((tmp_path / "cache").rglob("*.parquet")).write_bytes(b"damaged")
    assert len(open_set(str(lost))) == len(last)
    assert len(open_set(str(tmp_path / "a"))) == 5


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_shards, "KEEP_FROM", 1)
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert contents(open_set(str(webdataset(tmp_path / "a.tar", [1, 0])))) == [(0, 1), (1, 0)]
