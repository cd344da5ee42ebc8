"""Class folders, ImageNet's lists and flat folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from stmbench.data.image_set import ImageSet
from stmbench.data.sets import open_set
from stmbench.errors import ConfigError, ImageError, InputError
from tests.data.builders import BROKEN, encoded, imagenet, picture, tree


def contents(images: ImageSet) -> list[tuple[int, int | None]]:
    """(which picture, its label) of every image."""
    known = {picture(number).getpixel((0, 0)): number for number in range(60)}
    pairs = [images.read(index) for index in range(len(images))]
    return [(known[image.getpixel((0, 0))], label) for image, label in pairs]


def test_class_folders(tmp_path: Path) -> None:
    images = open_set(str(tree(tmp_path / "pets", {"cat": 2, "dog": 1, "hen": 2})))
    assert images.name == "pets"
    assert images.split == "all"
    assert images.classes == ("cat", "dog", "hen")
    assert contents(images) == [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2)]
    assert images.labels().tolist() == [0, 0, 1, 2, 2]
    assert images.title(2) == "dog/002.png"
    assert not images.embedded


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_folder_for_each_split(tmp_path: Path, split: str) -> None:
    tree(tmp_path / "pets" / "train", {"cat": 3, "dog": 3})
    tree(tmp_path / "pets" / "val", {"cat": 1, "dog": 1})
    images = open_set(str(tmp_path / "pets"), split=split)
    assert (images.name, images.split, len(images)) == ("pets", "val", 2)
    assert len(open_set(str(tmp_path / "pets"), split="train")) == 6
    named = open_set(str(tmp_path / "pets" / "val"))
    assert (named.name, named.split, len(named)) == ("pets", "val", 2)
    with pytest.raises(ConfigError, match=r"the split 'dev' in pets, got train, val; change --split"):
        open_set(str(tmp_path / "pets"), split="dev")


def test_a_tree_without_splits_has_no_training_images(tmp_path: Path) -> None:
    tree(tmp_path / "pets", {"cat": 1, "dog": 1})
    with pytest.raises(ConfigError, match=r"the split 'train' in pets, which has no folder for each split"):
        open_set(str(tmp_path / "pets"), split="train")


def test_other_files_hidden_ones_and_nested_ones(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"cat": 1, "dog": 1})
    (root / "cat" / "notes.txt").write_text("meow")
    (root / "cat" / "._000.png").write_bytes(b"a file system's own")
    (root / "dog" / "more").mkdir()
    (root / "dog" / "more" / "X.PNG").write_bytes(encoded(9))
    assert contents(open_set(str(root))) == [(0, 0), (1, 1), (9, 1)]


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    for number in (2, 1):
        (tmp_path / f"{number}.png").write_bytes(encoded(number))
    images = open_set(str(tmp_path))
    assert images.classes is None
    assert images.labels() is None
    assert contents(images) == [(1, None), (2, None)]
    assert images.groups().tolist() == [0, 0]


@pytest.mark.parametrize("inside", [None, "readme.txt", "a_class/readme.txt"])
def test_a_folder_without_images_is_refused(tmp_path: Path, inside: str | None) -> None:
    root = tmp_path / "nothing"
    root.mkdir()
    if inside:
        (root / inside).parent.mkdir(exist_ok=True)
        (root / inside).write_text("no image")
    with pytest.raises(InputError, match=r"expected a folder with images, got 'nothing', which (is empty|has none); "):
        open_set(str(root))


def test_the_fingerprint_is_of_names_sizes_and_labels_and_not_of_the_place(tmp_path: Path) -> None:
    classes = {"cat": 2, "dog": 1}
    first = open_set(str(tree(tmp_path / "a" / "pets", classes))).fingerprint()
    assert first == open_set(str(tree(tmp_path / "b" / "pets", classes))).fingerprint()
    assert first != open_set(str(tree(tmp_path / "c" / "pets", {"cat": 1, "dog": 2}))).fingerprint()
    (tmp_path / "a" / "pets" / "cat" / "000.png").write_bytes(encoded(0) + b" ")
    assert first != open_set(str(tmp_path / "a" / "pets")).fingerprint()


def test_a_damaged_file_is_named_when_it_is_read(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"cat": 1, "dog": 1})
    (root / "dog" / "001.png").write_bytes(BROKEN)
    with pytest.raises(ImageError, match=r"^dog/001\.png: "):
        open_set(str(root)).read(1)


def test_imagenets_lists(tmp_path: Path) -> None:
    root = imagenet(tmp_path / "imagenet", [65, 970, 65])
    for place in (root, root / "meta" / "val.txt"):
        images = open_set(str(place))
        assert (images.name, images.split) == ("imagenet", "val")
        assert images.labels().tolist() == [65, 970, 65]
        assert (images.classes, images.num_classes) == (None, 971)
        image, label = images.read(1)
        assert (image.size, label) == ((40, 32), 970)


def test_a_test_list_without_labels_is_passed_over_for_val(tmp_path: Path) -> None:
    root = imagenet(tmp_path / "imagenet", [3, 1])
    imagenet(root, [0, 0, 0], split="test")
    assert open_set(str(root)).split == "val"
    assert open_set(str(root), split="val").split == "val"


LISTS = {
    "no label": ("a.JPEG\n", r"a file and a label in every line of val\.txt, got 'a\.JPEG' in line 1"),
    "no number": ("a.JPEG 1\nb.JPEG cat\n", r"a label from 0 to 999999, got 'cat' in line 2 of val\.txt"),
    "empty": ("\n\n", r"a list of images, got val\.txt, which is empty"),
}


@pytest.mark.parametrize(("text", "message"), LISTS.values(), ids=LISTS.keys())
def test_lists_that_say_nothing_are_refused(tmp_path: Path, text: str, message: str) -> None:
    root = imagenet(tmp_path / "imagenet", [1])
    (root / "meta" / "val.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        open_set(str(root))


def test_a_list_without_its_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "val.txt"
    file.write_text("a.JPEG 1\n")
    with pytest.raises(InputError, match=r"a folder val/ for the images of val\.txt, got none"):
        open_set(str(file))


def test_a_listed_image_that_is_missing_is_a_corrupt_one(tmp_path: Path) -> None:
    root = imagenet(tmp_path / "imagenet", [1, 2])
    (root / "val" / "ILSVRC2012_val_00000001.JPEG").unlink()
    images = open_set(str(root))
    assert images.read(0)[1] == 1
    with pytest.raises(ImageError, match=r"ILSVRC2012_val_00000001\.JPEG: No such file"):
        images.read(1)
