"""Labels in lists, tables and shards: read right, or refused with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from stmbench.data.sets import open_set
from stmbench.errors import ConfigError, ImageError, InputError
from tests.data.builders import encoded, imagenet, tar, tree, webdataset
from tests.data.test_folders import contents

NAME = "ILSVRC2012_val_00000000.JPEG"
WRONG = ["9999999999", "²", "--3", "-1", "1.5", "", "4294967295", "300000000", "1" * 5000]


@pytest.mark.parametrize("label", WRONG)
def test_a_wrong_label_in_a_list_is_named_with_its_line(tmp_path: Path, label: str) -> None:
    root = imagenet(tmp_path / "imagenet", [1])
    (root / "meta" / "val.txt").write_text(f"{NAME} 1\n{NAME} {label}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"in line 2( of val\.txt)?; write"):
        open_set(str(root))


def test_a_list_that_is_no_utf8(tmp_path: Path) -> None:
    root = imagenet(tmp_path / "imagenet", [1])
    (root / "meta" / "val.txt").write_bytes(f"{NAME} 1\n".encode() + b"caf\xe9.JPEG 2\n")
    with pytest.raises(InputError, match=r"text in UTF-8, got other bytes in line 2 of val\.txt"):
        open_set(str(root))


@pytest.mark.parametrize("label", [label for label in WRONG if len(label) < 20])
def test_a_wrong_label_in_a_shard_is_named(tmp_path: Path, label: str) -> None:
    members = [("0.png", encoded(0)), ("0.cls", label.encode())]
    with pytest.raises(InputError, match=r"a label from 0 to 999999, got .* in 0\.cls of s\.tar"):
        open_set(str(tar(tmp_path / "s.tar", members)))


def test_nothing_is_allocated_for_each_class_up_to_a_label(tmp_path: Path) -> None:
    images = open_set(str(webdataset(tmp_path / "s.tar", [999_999, 0])))
    assert (images.classes, images.num_classes) == (None, 1_000_000)


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    folder = tmp_path / "photos of mine"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(encoded(number))
    return folder


@pytest.mark.parametrize(
    "text",
    [
        "image,label\n0.png,2\n1.png,0\n2.png,7\n",
        "2.png;7\n0.png;2\n1.png;0\n",
        "\ufeffid\tlabel\n0\t2\n1\t0\n2\t7\n",  # without suffixes, as Kaggle has it
        '"0.png","2",x\r\n"1.png","0",x\r\n\r\n"./2.png","7",x\r\n',
    ],
)
def test_a_flat_folder_with_a_table_of_numbers(flat: Path, text: str) -> None:
    (flat.parent / "truth.csv").write_text(text, encoding="utf-8")
    images = open_set(str(flat), labels=flat.parent / "truth.csv")
    assert (images.name, images.split, images.classes, images.num_classes) == ("photos of mine", "all", None, 8)
    assert contents(images) == [(0, 2), (1, 0), (2, 7)]


def test_a_table_of_names(flat: Path) -> None:
    (flat / "truth.csv").write_text("0.png,owl\n1.png,hen\n2.png,owl\n")
    images = open_set(str(flat), labels=flat / "truth.csv")
    assert images.classes == ("hen", "owl")
    assert contents(images) == [(0, 1), (1, 0), (2, 1)]


def test_images_without_lines_and_lines_without_images(flat: Path) -> None:
    (flat / "truth.csv").write_text("1.png,0\nlost.png,1\n")
    images = open_set(str(flat), labels=flat / "truth.csv")
    assert (len(images), images.labels().tolist()) == (2, [0, 1])
    assert images.remarks == ("skipped in photos of mine: 2 images without a line in truth.csv",)
    with pytest.raises(ImageError, match=r"lost\.png: No such file"):
        images.read(1)


def test_a_table_for_two_splits(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"train": 2, "val": 1})
    (tmp_path / "truth.csv").write_text("train/000.png,cat\ntrain/001.png,dog\n002.png,dog\n")
    for split, expected in (("train", [(0, 0), (1, 1)]), ("val", [(2, 1)])):
        images = open_set(str(root), split=split, labels=tmp_path / "truth.csv")
        assert (images.split, images.classes, contents(images)) == (split, ("cat", "dog"), expected)


TABLES = {
    "empty": ("", r"a table of images and labels, got t\.csv, which has no lines"),
    "one column": (
        "0.png,1\n1.png\n",
        r"two columns in a table of images and labels, got '1\.png' in line 2 of t\.csv",
    ),
    "huge": ("0.png,1\n1.png,300000000\n", r"a label from 0 to 999999, got '300000000' in line 2 of t\.csv"),
    "negative": ("0.png,1\n1.png,-1\n", r"got '-1' in line 2 of t\.csv"),
    "half": ("0.png,1\n1.png,1.5\n", r"got '1\.5' in line 2 of t\.csv"),
    "two labels": ("0.png,1\n0.png,2\n", r"one label for each image, got '1' and '2' for 0\.png in line 2 of t\.csv"),
    "strangers": ("a.png,1\n", r"images of 'photos of mine' in t\.csv, got 'a\.png' and other names"),
}


@pytest.mark.parametrize(("text", "message"), TABLES.values(), ids=TABLES.keys())
def test_tables_that_cannot_be_used(flat: Path, text: str, message: str) -> None:
    (flat / "t.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        open_set(str(flat), labels=flat / "t.csv")


def test_labels_without_a_folder_or_a_file(flat: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a table of images and labels, got no file at none\.csv"):
        open_set(str(flat), labels=tmp_path / "none.csv")
    for place in ("digits", str(webdataset(tmp_path / "s.tar", [0]))):
        with pytest.raises(ConfigError, match="--labels with a folder of images, got"):
            open_set(place, labels=tmp_path / "none.csv")


MAPS = {
    "unknown word": ("imagenet-b", None, "a word or file for --classes, got 'imagenet-b'; did you mean imagenet-"),
    "no file": ("none.csv", None, r"a table of classes and their numbers, got no file at none\.csv"),
    "no number": ("m.csv", "cat,0\ndog,x\n", r"a label from 0 to 999999, got 'x' in line 2 of m\.csv"),
    "twice": ("m.csv", "cat,0\ndog,1\ncat,2\n", r"one number for each class, got 0 and 2 for 'cat' in m\.csv"),
    "no JSON": ("m.json", "{", r"a JSON file of classes and their numbers, got m\.json"),
    "deep": ("m.json", "[" * 100_000, r"a JSON file of classes and their numbers, got m\.json"),
    "fraction": ("m.json", '{"cat": 0.5}', r"a label from 0 to 999999, got '0\.5' in 'cat' of m\.json"),
    "incomplete": ("m.json", '{"cat": 0}', r"classes that m\.json maps, got 'dog' among cat, dog"),
}


@pytest.mark.parametrize(("text", "content", "message"), MAPS.values(), ids=MAPS.keys())
def test_maps_that_cannot_be_used(tmp_path: Path, text: str, content: str | None, message: str) -> None:
    root = tree(tmp_path / "pets", {"cat": 1, "dog": 1})
    if content is not None:
        (tmp_path / text).write_text(content)
    with pytest.raises(InputError, match=message):
        open_set(str(root), classes=str(tmp_path / text) if "." in text else text)


def test_a_map_renumbers_and_merges(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"cat": 1, "dog": 1, "puppy": 1})
    (tmp_path / "m.json").write_text('["bird", "dog", "cat"]')
    with pytest.raises(InputError, match="got 'puppy' among cat, dog, puppy"):
        open_set(str(root), classes=str(tmp_path / "m.json"))
    (tmp_path / "m.json").write_text('{"cat": 40, "dog": 3, "puppy": 3}')
    images = open_set(str(root), classes=str(tmp_path / "m.json"))
    assert (images.outputs, images.classes) == ((3, 40), ("dog+puppy", "cat"))
    assert contents(images) == [(0, 1), (1, 0), (2, 0)]
    assert images.fingerprint() != open_set(str(root)).fingerprint()
