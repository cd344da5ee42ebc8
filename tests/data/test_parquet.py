"""Parquet files of images: as Hugging Face writes them and others, in several files, damaged, and read by groups."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stmbench.data import parquet
from stmbench.data.sets import open_set
from stmbench.errors import ImageError, InputError
from tests.data.builders import BROKEN, encoded, tree
from tests.data.test_folders import contents

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(
    file: Path, labels: list[Any] | None, *, first: int = 0, names: list[str] | None = None, group: int = 2
) -> Path:
    """Pictures `first`, `first` + 1 ... as Hugging Face's `to_parquet` writes them, in groups of `group` rows."""
    count = 6 if labels is None else len(labels)
    pictures = [{"bytes": encoded(first + number), "path": None} for number in range(count)]
    columns = {"image": pa.array(pictures, STRUCT)} | ({} if labels is None else {"label": pa.array(labels)})
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    if labels is not None:
        features["label"] = {"_type": "ClassLabel", "names": names} if names else {"_type": "Value"}
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file, row_group_size=group)
    return file


def test_one_file(tmp_path: Path) -> None:
    images = open_set(str(write(tmp_path / "birds.parquet", [1, 0, 1, 0, 1], names=["owl", "tit"])))
    assert (images.name, images.split, images.classes) == ("birds", "all", ("owl", "tit"))
    assert contents(images) == [(0, 1), (1, 0), (2, 1), (3, 0), (4, 1)]
    assert images.title(3) == "birds.parquet, row 3"
    blocks = images.blocks()
    assert blocks is not None
    assert blocks[0].tolist() == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("inside", ["", "data"])
def test_files_as_on_the_hub(tmp_path: Path, inside: str) -> None:
    folder = tmp_path / "birds" / inside
    write(folder / "train-00000-of-00002.parquet", [1, 0])
    write(folder / "train-00001-of-00002.parquet", [1], first=2)
    write(folder / "validation-00000-of-00001.parquet", [0, 1], first=7)
    train, test = (open_set(str(tmp_path / "birds"), split=split) for split in ("train", "test"))
    assert (train.name, train.split, contents(train)) == ("birds", "train", [(0, 1), (1, 0), (2, 1)])
    assert (test.name, test.split, contents(test)) == ("birds", "validation", [(7, 0), (8, 1)])
    pattern = open_set(f"{folder}/train-{{00000..00001}}-of-00002.parquet", split="train")
    assert contents(pattern) == contents(train)


def test_files_of_others(tmp_path: Path) -> None:
    table = pa.table({"jpg": pa.array([encoded(0), encoded(1)]), "class": ["tit", "owl"]})
    pq.write_table(table, tmp_path / "a.parquet")
    images = open_set(str(tmp_path / "a.parquet"))
    assert (images.classes, contents(images)) == (("owl", "tit"), [(0, 1), (1, 0)])


@pytest.mark.parametrize("labels", [None, [None, None], [-1, -1]])
def test_without_labels(tmp_path: Path, labels: list[Any] | None) -> None:
    images = open_set(str(write(tmp_path / "a.parquet", labels and pa.array(labels, pa.int64()).to_pylist())))
    assert (images.labels(), images.classes, images.damaged) == (None, None, ())
    assert images.read(1)[1] is None


def test_what_is_lost_is_named_and_counted(tmp_path: Path) -> None:
    write(tmp_path / "a" / "0.parquet", [1, None, 0])
    whole = write(tmp_path / "a" / "1.parquet", [1, 1], first=3).read_bytes()
    write(tmp_path / "a" / "2.parquet", [0], first=5)
    (tmp_path / "a" / "1.parquet").write_bytes(whole[:-40])
    images = open_set(str(tmp_path / "a"))
    assert contents(images) == [(0, 1), (2, 0), (5, 0)]
    file, row = images.damaged
    assert file.startswith("1.parquet is damaged (")
    assert file.endswith("its images are lost")
    assert row == "0.parquet, row 1: no label"
    assert images.title(1) == "0.parquet, row 2"


def test_damaged_groups_and_images_are_images_that_cannot_be_read(tmp_path: Path) -> None:
    pictures = [encoded(0), BROKEN, b"", encoded(3), encoded(4), encoded(5)]
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": pictures}), file, row_group_size=3, compression="snappy", use_dictionary=False)
    start = pq.read_metadata(file).row_group(1).column(0).data_page_offset
    content = bytearray(file.read_bytes())
    content[start : start + 60] = b"\xff" * 60
    file.write_bytes(content)
    images = open_set(str(file))
    assert len(images) == 6
    assert images.read(0)[0].size
    for index, said in ((1, "a.parquet, row 1: "), (2, "row 2: no bytes"), (3, "row 3: row group 1 is damaged")):
        with pytest.raises(ImageError, match=said):
            images.read(index)


REFUSED = {
    "no image column": ({"text": ["a"]}, "a column of images, got a with text; name the images' bytes image"),
    "a label of 2^40": ({"image": [b"x"], "label": [2**40]}, "a label from 0 to 999999, got 1099511627776 in 'label'"),
    "no rows": ({"image": pa.array([], pa.binary())}, "images in the Parquet files of a, got no rows"),
}


@pytest.mark.parametrize(("columns", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(tmp_path: Path, columns: dict[str, Any], said: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=said.replace("^", r"\^")):
        open_set(str(tmp_path / "a.parquet"))


def test_no_file_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"images in the Parquet files of a, got a.parquet is damaged"):
        open_set(str(tmp_path / "a.parquet"))


def test_groups_are_read_once_while_they_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, reads = open_set(str(write(tmp_path / "a.parquet", None))), list[int]()
    read = pq.ParquetFile.read_row_group

    def counted(file: pq.ParquetFile, number: int, **rest: Any) -> pa.Table:
        reads.append(number)
        return read(file, number, **rest)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    for index in (0, 5, 1, 4, 2):
        images.read(index)
    assert reads == [0, 2, 1]
    monkeypatch.setattr(parquet, "KEEP_BYTES", 1)
    small = open_set(str(tmp_path / "a.parquet"))
    reads.clear()
    for index in (0, 1, 5, 0):
        small.read(index)
    assert reads == [0, 2, 0]


def test_a_process_that_decodes_has_the_set(tmp_path: Path) -> None:
    images = open_set(str(write(tmp_path / "a.parquet", [1, 0, 1])))
    images.read(0)
    again = pickle.loads(pickle.dumps(images))
    assert contents(again) == contents(images)
    assert again.fingerprint() == images.fingerprint()


def test_a_fingerprint_is_of_names_sizes_and_labels(tmp_path: Path) -> None:
    one = open_set(str(write(tmp_path / "here" / "a.parquet", [1, 0, 1])))
    same = open_set(str(write(tmp_path / "there" / "a.parquet", [1, 0, 1])))
    other = open_set(str(write(tmp_path / "other" / "a.parquet", [1, 1, 1])))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    assert np.array_equal(np.asarray(one.labels()), [1, 0, 1])


@pytest.mark.parametrize("place", ["", "train"])
def test_a_table_beside_class_folders_is_no_set(tmp_path: Path, place: str) -> None:
    """As a metadata.parquet, whose rows are about the images of the folders."""
    root = tree(tmp_path / "pets" / place, {"cat": 2, "dog": 2})
    pq.write_table(pa.table({"file_name": ["cat/000.png"], "label": [7]}), root / "metadata.parquet")
    images = open_set(str(tmp_path / "pets"), split=place or "test")
    assert images.classes == ("cat", "dog")
    assert len(images) == 4
