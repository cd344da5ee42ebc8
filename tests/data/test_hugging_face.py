"""Hugging Face data sets as `save_to_disk` leaves them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stmbench.data.sets import open_set
from stmbench.errors import ConfigError, InputError
from tests.data.builders import saved
from tests.data.test_folders import contents


@pytest.mark.parametrize("shards", [1, 3])
def test_one_split(tmp_path: Path, shards: int) -> None:
    images = open_set(str(saved(tmp_path / "birds", [1, 0, 1, 1], names=("hen", "owl"), shards=shards)))
    assert (images.name, images.split, images.classes) == ("birds", "all", ("hen", "owl"))
    assert contents(images) == [(0, 1), (1, 0), (2, 1), (3, 1)]
    assert images.labels().tolist() == [1, 0, 1, 1]


def test_a_dictionary_of_splits(tmp_path: Path) -> None:
    saved(tmp_path / "birds" / "train", [0, 1, 2])
    saved(tmp_path / "birds" / "validation", [2, 0])
    (tmp_path / "birds" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "validation"]}))
    images = open_set(str(tmp_path / "birds"))
    assert (images.name, images.split, images.classes, images.num_classes) == ("birds", "validation", None, 3)
    assert len(open_set(str(tmp_path / "birds"), split="train")) == 3
    alone = open_set(str(tmp_path / "birds" / "validation"))
    assert (alone.name, alone.split) == ("birds", "validation")
    assert alone.fingerprint() == images.fingerprint()
    with pytest.raises(ConfigError, match="the split 'dev' in birds, got train, validation"):
        open_set(str(tmp_path / "birds"), split="dev")


def test_without_labels(tmp_path: Path) -> None:
    images = open_set(str(saved(tmp_path / "birds", None)))
    assert images.classes is None
    assert contents(images) == [(number, None) for number in range(4)]


def test_a_set_without_images_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "birds", [0])
    (folder / "dataset_info.json").write_text(json.dumps({"features": {"label": {"_type": "ClassLabel"}}}))
    with pytest.raises(InputError, match="a data set with a column of images, got birds with label"):
        open_set(str(folder))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "birds", [0])
    (folder / "data-00000-of-00001.arrow").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"an Arrow stream, got data-00000-of-00001\.arrow"):
        open_set(str(folder))


STATE = {
    "a list": ("state.json", "[]", r"names of Arrow files, got others in state\.json of birds"),
    "no names": ("state.json", '{"_data_files": [1, {"filename": 3}]}', "names of Arrow files"),
    "a path outside": ("state.json", '{"_data_files": [{"filename": "../../x.arrow"}]}', "names of Arrow files"),
    "a missing file": (
        "state.json",
        '{"_data_files": [{"filename": "x.arrow"}]}',
        r"the Arrow file x\.arrow, got none",
    ),
    "deep": ("state.json", "[" * 100_000, r"a readable state\.json, got none in birds"),
    "no UTF-8": ("state.json", "\udcff", r"a readable state\.json"),
    "features in a list": (
        "dataset_info.json",
        '{"features": ["picture"]}',
        r"named columns, got none in dataset_info",
    ),
    "a strange column": ("dataset_info.json", '{"features": {"x": {"_type": "Image"}}}', "one column 'x' in birds"),
    "numbers as images": ("dataset_info.json", '{"features": {"id": {"_type": "Image"}}}', "images as bytes and path"),
    "images as labels": (
        "dataset_info.json",
        '{"features": {"picture": {"_type": "Image", "names": 3}, "label": {"_type": "ClassLabel", "names": 3}}}',
        "a name for every label",
    ),
    "too few names": (
        "dataset_info.json",
        '{"features": {"picture": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["a"]}}}',
        "a name for every label, got label 1 with 1 names in birds",
    ),
    "splits by number": ("dataset_dict.json", '{"splits": [1]}', r"names of splits, got others in dataset_dict\.json"),
    "splits elsewhere": ("dataset_dict.json", '{"splits": ["../test"]}', r"names of splits"),
}


@pytest.mark.parametrize(("file", "text", "message"), STATE.values(), ids=STATE.keys())
def test_hostile_metadata_is_refused_in_one_line(tmp_path: Path, file: str, text: str, message: str) -> None:
    folder = saved(tmp_path / "birds", [0, 1], names=("hen", "owl"))
    (folder / file).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=message) as refused:
        open_set(str(folder))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("label", [-2, 4_294_967_295, 300_000_000])
def test_a_wrong_label_is_named_with_its_row(tmp_path: Path, label: int) -> None:
    with pytest.raises(InputError, match=f"a label from 0 to 999999, got {label} in row 1 of birds"):
        open_set(str(saved(tmp_path / "birds", [0, label])))


def test_labels_that_are_kept_secret_are_none(tmp_path: Path) -> None:
    assert open_set(str(saved(tmp_path / "birds", [-1, -1], names=("hen", "owl")))).labels() is None


def test_empty_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a whole number for every image of birds, got int64 with 1 empty ones"):
        open_set(str(saved(tmp_path / "birds", [0, None])))  # type: ignore[list-item]
