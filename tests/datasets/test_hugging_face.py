"""Hugging Face data sets as `save_to_disk` leaves them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stmbench.data.sets import open_set
from stmbench.errors import ConfigError, InputError
from tests.datasets.builders import saved
from tests.datasets.test_folders import contents


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
    assert (images.name, images.split, images.classes) == ("birds", "validation", ("0", "1", "2"))
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
