"""Every kind of image file becomes 8-bit RGB, what cannot be read is named, and what is no image is counted."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stmbench.data.image_files import decode
from stmbench.data.sets import open_set
from stmbench.errors import ImageError, InputError
from tests.data.builders import BROKEN, encoded, imagenet, picture, tar, tree
from tests.data.test_folders import contents

SIDE = (6, 4)


def through(image: Image.Image, kind: str, **options: object) -> np.ndarray:
    file = io.BytesIO()
    image.save(file, kind, **options)
    decoded = decode(file.getvalue(), "it")
    assert type(decoded) is Image.Image  # in memory, with no file behind it
    assert decoded.mode == "RGB"
    return np.asarray(decoded)


def grey(values: list[int], dtype: type) -> Image.Image:
    return Image.fromarray(np.asarray([values], dtype=dtype))


def palette(transparency: int | None) -> np.ndarray:
    image = Image.new("P", SIDE, 1)
    image.putpalette([0, 0, 0, 250, 10, 20])
    return through(image, "png", **({} if transparency is None else {"transparency": transparency}))


KINDS = {
    "colour": (lambda: through(Image.new("RGB", SIDE, (1, 2, 3)), "png"), (1, 2, 3)),
    "greyscale": (lambda: through(Image.new("L", SIDE, 77), "png"), (77, 77, 77)),
    "1-bit": (lambda: through(Image.new("1", SIDE, 1), "png"), (255, 255, 255)),
    "palette": (lambda: palette(None), (250, 10, 20)),
    "palette, transparent": (lambda: palette(1), (255, 255, 255)),
    "alpha": (lambda: through(Image.new("RGBA", SIDE, (0, 0, 0, 51)), "png"), (204, 204, 204)),
    "grey with alpha": (lambda: through(Image.new("LA", SIDE, (9, 255)), "png"), (9, 9, 9)),
    "CMYK TIFF": (lambda: through(Image.new("CMYK", SIDE, (0, 255, 255, 0)), "tiff"), (255, 0, 0)),
}


@pytest.mark.parametrize(("read", "colour"), KINDS.values(), ids=KINDS.keys())
def test_kinds(read, colour: tuple[int, int, int]) -> None:
    pixels = read()
    assert pixels.shape == (SIDE[1], SIDE[0], 3)
    assert (pixels == colour).all()


def test_cmyk_jpeg_is_in_colour() -> None:
    pixels = through(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "jpeg", quality=95)
    assert abs(pixels.astype(int) - (255, 0, 0)).max() < 8


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    pixels = through(grey([0, 257, 32896, 65535], np.uint16), "png")[0, :, 0]
    assert pixels.tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("full", [1.0, 255.0])
def test_floats_of_two_ranges(full: float) -> None:
    pixels = through(grey([0, 1, 2], np.float32).point(lambda value: value * full / 2), "tiff")[0, :, 0]
    assert pixels.tolist() == [0, 128, 255]


def test_floats_of_no_known_range_are_refused() -> None:
    with pytest.raises(ImageError, match=r"it: float values from -1 to 300"):
        through(grey([-1, 300], np.float32), "tiff")


@pytest.mark.parametrize("kind", ["gif", "png", "tiff", "webp"])
def test_the_first_frame_of_several(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    options = {"lossless": True} if kind == "webp" else {}
    pixels = through(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (pixels == (255, 0, 0)).all()


DAMAGED = {
    "not an image": b"these are letters",
    "header alone": BROKEN,
    "truncated": encoded(3, "jpg")[:-200],
    "empty": b"",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_damage_is_an_error_with_the_name(content: bytes) -> None:
    with pytest.raises(ImageError, match=r"^n01/x\.jpg: \w"):
        decode(content, "n01/x.jpg")


def test_a_missing_file_is_an_error_without_this_machines_folders(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        decode(tmp_path / "gone.png", "gone.png")
    assert str(caught.value) == "gone.png: No such file or directory"


def test_a_file_is_closed_again(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture(1).save(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("PIL.Image.open", closing := Closing())
        decode(path, "a.png")
    assert closing.images
    assert all(image.fp is None for image in closing.images)


class Closing:
    """PIL's open, with a record of what it opened."""

    def __init__(self) -> None:
        self.images: list[Image.Image] = []
        self._open = Image.open

    def __call__(self, source: object) -> Image.Image:
        self.images.append(self._open(source))
        return self.images[-1]


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
    with pytest.raises(InputError, match=r"a folder, a \.tar or \.parquet file, or a list"):
        open_set(str(root / "a.tar"))


def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path / "pets", {"cat": 1, "dog": 1})
    real = os.scandir

    def scandir(path: os.PathLike[str]) -> object:
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("stmbench.data.image_files.os.scandir", scandir)
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
