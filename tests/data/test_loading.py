"""Batches: order, corrupt images counted, named and skipped to a limit, workers, and the cache between models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stmbench.data.image_selection import replacement_images, select_images
from stmbench.data.loading import Batches, PixelCache, batches
from stmbench.data.preprocessing import to_pixels
from stmbench.errors import InputError, UnitError
from tests.data.builders import picture
from tests.data.memory_set import MemorySet

LABELS = [index % 3 for index in range(11)]


def loaded(corrupt: tuple[int, ...] = (), *, workers: int = 0, limit: int = 10, size: int = 4) -> Batches:
    order = range(len(LABELS) - 1, -1, -1)
    images = MemorySet(LABELS, corrupt=corrupt)
    return batches(images, order, to_pixels, batch_size=size, workers=workers, limit_corrupt=limit)


@pytest.mark.parametrize("workers", [0, 3])
def test_images_labels_and_places_in_the_order_asked_for(workers: int) -> None:
    loader = list(loaded(workers=workers))
    assert [len(batch) for batch in loader] == [4, 4, 3]
    assert [index for batch in loader for index in batch.indices] == list(range(10, -1, -1))
    assert torch.cat([batch.labels for batch in loader]).tolist() == LABELS[::-1]
    for batch in loader:
        assert batch.images.shape == (len(batch), 3, 32, 40)
        for index, pixels in zip(batch.indices, batch.images, strict=True):
            assert torch.equal(pixels, to_pixels(picture(index)))


@pytest.mark.parametrize("workers", [0, 3])
def test_corrupt_images_are_counted_named_and_skipped(workers: int) -> None:
    loader = loaded((9, 2), workers=workers)
    assert [len(batch) for batch in loader] == [3, 4, 2]
    assert [(item.index, item.reason) for item in loader.corrupt] == [
        (9, "image 9 of memory: damaged"),
        (2, "image 2 of memory: damaged"),
    ]


def test_a_batch_of_nothing_but_corrupt_images_is_left_out() -> None:
    loader = loaded((10, 9, 8, 7))
    assert [batch.indices for batch in loader] == [(6, 5, 4, 3), (2, 1, 0)]


@pytest.mark.parametrize("workers", [0, 2])
def test_more_than_the_limit_stop_the_unit(workers: int) -> None:
    list(loaded((1, 5), limit=2, workers=workers))
    message = r"more than 2 corrupt images, the limit \(--limit-corrupt\): image 9 of memory: damaged; .*5.*; .*1 of"
    with pytest.raises(UnitError, match=message):
        list(loaded((1, 5, 9), limit=2, workers=workers))


def test_a_limit_of_none() -> None:
    with pytest.raises(UnitError, match="more than 0 corrupt images"):
        list(loaded((1,), limit=0))


def test_nothing_but_corrupt_images() -> None:
    with pytest.raises(UnitError, match="no image could be read; the first: image 10 of memory: damaged"):
        list(loaded(tuple(range(11)), limit=100))


def test_counting_starts_again_with_each_pass() -> None:
    loader = loaded((3,))
    for _ in range(2):
        list(loader)
        assert len(loader.corrupt) == 1


def test_images_without_labels() -> None:
    (batch,) = batches(MemorySet(None, count=3), range(3), to_pixels, batch_size=8)
    assert batch.labels is None
    assert batch.indices == (0, 1, 2)


def test_a_fault_of_ours_is_not_taken_for_a_corrupt_image() -> None:
    def broken(image: Image.Image) -> Tensor:
        raise ZeroDivisionError

    for workers in (0, 2):
        with pytest.raises(ZeroDivisionError):
            list(batches(MemorySet(LABELS), [0, 1], broken, batch_size=2, workers=workers))


def test_leaving_early_leaves_no_threads_decoding() -> None:
    images = MemorySet([0] * 400)
    first = next(iter(batches(images, range(400), to_pixels, batch_size=2, workers=2)))
    assert first.indices == (0, 1)
    assert len(images.reads) < 40


def test_the_cache_gives_back_the_very_same_values_without_reading_again() -> None:
    images, cache = MemorySet(LABELS, corrupt=(4,)), PixelCache()
    first, second = (list(batches(images, range(11), to_pixels, batch_size=4, cache=cache)) for _ in range(2))
    assert sorted(images.reads) == sorted([*range(11), 4])  # what is corrupt is tried again
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


def test_every_8_bit_value_survives_the_cache() -> None:
    cache, values = PixelCache(), torch.arange(256, dtype=torch.float32).div(255).view(1, 16, 16)
    cache.put(0, values, None)
    pixels, label = cache.get(0)
    assert torch.equal(pixels, values)
    assert label is None


def test_a_full_cache_keeps_what_it_has() -> None:
    cache = PixelCache(limit=2 * 3 * 32 * 40)
    for index in range(3):
        cache.put(index, to_pixels(picture(index)), index)
    assert [cache.get(index) is not None for index in range(3)] == [True, True, False]
    assert cache.used == 2 * 3 * 32 * 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "a batch size of at least 1, got 0"),
        ({"batch_size": 1, "workers": -1}, "a number of workers of at least 0, got -1"),
        ({"batch_size": 1, "limit_corrupt": -1}, "a number of corrupt images of at least 0, got -1"),
    ],
)
def test_sizes_that_make_no_sense(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        batches(MemorySet(LABELS), [0], to_pixels, **options)


@pytest.mark.parametrize("workers", [0, 3])
def test_a_corrupt_image_is_replaced_by_the_next_of_its_class(workers: int) -> None:
    labels = [0, 1] * 8
    chosen = select_images(MemorySet(labels), 6, seed=3)
    left = replacement_images(MemorySet(labels), 6, seed=3).tolist()
    assert [*chosen, *left] == select_images(MemorySet(labels), 16, seed=3)
    broken = chosen[2]
    first, second = [index for index in left if labels[index] == labels[broken]][:2]
    images = MemorySet(labels, corrupt=(broken, first))
    loader = batches(
        images, chosen, to_pixels, batch_size=4, workers=workers, spare=lambda: replacement_images(images, 6, seed=3)
    )
    for _ in range(2):  # the same in each pass
        assert [index for batch in loader for index in batch.indices] == [*chosen[:2], second, *chosen[3:]]
        assert loader.replaced == {broken: second}
        assert [item.index for item in loader.corrupt] == [broken, first]


def test_where_no_other_of_its_class_is_left_any_image_will_do_and_then_none() -> None:
    images = MemorySet([0, 1, 1], corrupt=(0, 1))
    loader = batches(images, [0, 1], to_pixels, batch_size=2, spare=lambda: np.asarray([2]))
    (batch,) = loader
    assert (batch.indices, loader.replaced) == ((2,), {0: 2})
    assert batch.labels is not None
    assert batch.labels.tolist() == [1]
