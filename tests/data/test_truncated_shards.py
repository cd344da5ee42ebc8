"""A shard cut anywhere gives all of its images, or says what it has lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from stmbench.data.loading import batches
from stmbench.data.preprocessing import to_pixels
from stmbench.data.sets import open_set
from stmbench.errors import InputError, UnitError
from tests.data.builders import encoded, tar, webdataset
from tests.data.test_folders import contents

LABELS = [2, 0, 1]


def test_every_cut_is_said_or_loses_nothing(tmp_path: Path) -> None:
    whole = webdataset(tmp_path / "s.tar", LABELS).read_bytes()
    everything = list(enumerate(LABELS))
    for cut in range(256, len(whole), 256):
        (tmp_path / "s.tar").write_bytes(whole[:cut])
        try:
            images = open_set(str(tmp_path / "s.tar"))
        except InputError:  # nothing in it is whole
            assert cut <= 1024
            continue
        if images.damaged:
            assert images.damaged[0].startswith("s.tar ")
            labelled = images.labels() is not None  # before the first .cls a cut leaves no label at all
            assert all(pair in everything if labelled else pair == (0, None) for pair in contents(images))
        else:
            assert contents(images) == everything


def test_a_header_that_is_damaged_in_the_middle(tmp_path: Path) -> None:
    content = bytearray(webdataset(tmp_path / "s.tar", LABELS).read_bytes())
    place = bytes(content).index(b"000001.png")
    content[place] ^= 1
    (tmp_path / "s.tar").write_bytes(content)
    images = open_set(str(tmp_path / "s.tar"))
    assert contents(images) == [(0, 2)]
    assert images.damaged == (f"s.tar has a damaged header at byte {place}, what follows is lost",)


def test_lost_ends_count_as_corrupt_images(tmp_path: Path) -> None:
    for number in range(3):
        file = webdataset(tmp_path / "birds" / f"{number}.tar", LABELS, first=3 * number)
        if number:
            content = file.read_bytes()
            file.write_bytes(content[: content.index(f"{3 * number + 2:06}.png".encode())])
    images = open_set(str(tmp_path / "birds"))
    assert len(images) == 7
    loader = batches(images, range(7), to_pixels, batch_size=4, limit_corrupt=2)
    assert sum(len(batch) for batch in loader) == 7
    assert [item.reason for item in loader.corrupt] == [
        "1.tar ends without the zeros that end an archive, what follows is lost",
        "2.tar ends without the zeros that end an archive, what follows is lost",
    ]
    with pytest.raises(UnitError, match=r"more than 1 corrupt images, the limit \(--limit-corrupt\): 1\.tar ends"):
        list(batches(images, range(7), to_pixels, batch_size=4, limit_corrupt=1))


def test_an_image_without_the_end_of_its_label(tmp_path: Path) -> None:
    file = webdataset(tmp_path / "s.tar", LABELS)
    content = file.read_bytes()
    file.write_bytes(content[: content.index(b"000002.cls") + 512])
    images = open_set(str(file))
    assert contents(images) == [(0, 2), (1, 0)]
    assert images.damaged == (
        "s.tar ends inside of 000002.cls, what follows is lost",
        "s.tar/000002.png: its label is lost",
    )


def test_one_block_of_zeros_is_an_end(tmp_path: Path) -> None:
    file = tar(tmp_path / "s.tar", [("0.png", encoded(0)), ("0.cls", b"0")])
    file.write_bytes(file.read_bytes()[: 4 * 512 + 512])
    assert open_set(str(file)).damaged == ()


@pytest.mark.parametrize(
    "pattern", ["x-{0..999999999}.tar", "x-{0..99}-{0..99}-{0..99}.tar", f"x-{{0..{'9' * 5000}}}.tar"]
)
def test_patterns_of_very_many_shards_are_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(InputError, match=r"a pattern of at most 100,000 shards, got .*; correct the range in braces"):
        open_set(str(tmp_path / pattern))
