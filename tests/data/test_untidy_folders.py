"""What systems and tools leave in folders is no class and no image, and is counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stmbench.data.sets import open_set
from stmbench.errors import ImageError, InputError
from tests.data.builders import encoded, imagenet, picture, tar, tree
from tests.data.test_folders import contents

JUNK = (".ipynb_checkpoints", "@eaDir", "__MACOSX", ".Trash", "lost+found", ".git")


@pytest.mark.parametrize("name", JUNK)
def test_junk_is_no_class_at_any_depth(tmp_path: Path, name: str) -> None:
    root = tree(tmp_path / "pets", {"cat": 1, "dog": 1})
    for place in (root, root / "cat", root / "dog" / "more"):
        tree(place, {name: 1})
    images = open_set(str(root))
    assert (images.classes, contents(images)) == (("cat", "dog"), [(0, 0), (1, 1)])
    assert f"3 {name}" in " ".join(images.remarks)


@pytest.mark.parametrize("name", JUNK)
def test_junk_beside_splits_leaves_them_splits(tmp_path: Path, name: str) -> None:
    tree(tmp_path / "pets", {f"train/{name}": 1, "train/cat": 1, "val/cat": 1, "val/dog": 1, name: 1})
    images = open_set(str(tmp_path / "pets"))
    assert (images.split, images.classes) == ("val", ("cat", "dog"))


def test_other_folders_beside_train_and_val_are_named(tmp_path: Path) -> None:
    tree(tmp_path / "pets", {"train/cat": 1, "val/cat": 1, "notes": 1})
    images = open_set(str(tmp_path / "pets"))
    assert (images.split, images.classes) == ("val", ("cat",))
    assert images.remarks == ("skipped in pets: 1 notes/ beside train/, val/",)


def test_what_is_passed_over_is_counted(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"cat": 1, "dog": 1, "empty": 0})
    (root / "cat" / "._000.png").write_bytes(encoded(3))
    (root / "loose.png").write_bytes(encoded(3))
    images = open_set(str(root))
    assert images.classes == ("cat", "dog")
    assert images.remarks == (
        "skipped in pets: 1 folders without images, 1 hidden images, 1 images outside of class folders",
    )


def test_junk_in_shards(tmp_path: Path) -> None:
    members = [("__MACOSX/cat/._0.png", encoded(5)), ("cat/0.png", encoded(0)), ("dog/.ipynb_checkpoints/1.png", b"")]
    images = open_set(str(tar(tmp_path / "pets.tar", [*members, ("dog/1.png", encoded(1))])))
    assert (images.classes, contents(images)) == (("cat", "dog"), [(0, 0), (1, 1)])
    assert images.remarks == ("skipped in pets: 1 .ipynb_checkpoints, 1 __MACOSX",)


def test_pipes_and_loops_do_not_hang(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"cat": 1, "dog": 1})
    os.mkfifo(root / "cat" / "pipe.png")
    (root / "dog" / "round").symlink_to(root)
    (root / "dog" / "self").symlink_to("self")
    images = open_set(str(root))
    assert (images.classes, contents(images)) == (("cat", "dog"), [(0, 0), (1, 1)])
    assert "1 images that are no regular files" in images.remarks[0]


def test_a_listed_pipe_is_a_corrupt_image(tmp_path: Path) -> None:
    root = imagenet(tmp_path / "imagenet", [1])
    image = root / "val" / "ILSVRC2012_val_00000000.JPEG"
    image.unlink()
    os.mkfifo(image)
    with pytest.raises(ImageError, match="not a regular file"):
        open_set(str(root)).read(0)


def test_pipes_in_the_place_of_lists_and_shards(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"val/cat": 1, "train/cat": 1})
    for place in ("meta/val.txt", "state.json", "dataset_info.json", "dataset_dict.json", "a.tar"):
        (root / place).parent.mkdir(exist_ok=True)
        os.mkfifo(root / place)
    assert open_set(str(root)).classes == ("cat",)
    with pytest.raises(InputError, match=r"a folder, a \.tar or a list"):
        open_set(str(root / "a.tar"))


def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path / "pets", {"cat": 1, "dog": 1})
    real = os.scandir

    def scandir(path: os.PathLike[str]) -> object:
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("stmbench.data.file_discovery.os.scandir", scandir)
    with pytest.raises(InputError, match=r"a folder that can be read, got 'dog' \(Permission denied\)"):
        open_set(str(root))


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"cat": 1, "dog": 1})
    try:
        (root / "cat" / os.fsdecode(b"caf\xe9.png")).write_bytes(encoded(2))
    except OSError:
        pytest.skip("a file system of UTF-8 names")
    images = open_set(str(root))
    assert len(images.fingerprint()) == 64
    assert images.read(1)[0].tobytes() == picture(2).tobytes()
