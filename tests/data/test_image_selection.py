"""Which images are used: balanced over the classes, by a seed, never the first in folder order."""

from __future__ import annotations

from collections import Counter

import pytest

from stmbench.data.image_selection import require_labels, select_images
from stmbench.data.sets import open_set
from stmbench.errors import InputError
from tests.data.memory_set import MemorySet

IN_FOLDER_ORDER = [label for label in range(10) for _ in range(20)]


def test_fifty_images_of_a_set_in_folder_order_are_of_all_classes() -> None:
    chosen = select_images(MemorySet(IN_FOLDER_ORDER), 50, seed=0)
    assert Counter(IN_FOLDER_ORDER[index] for index in chosen) == dict.fromkeys(range(10), 5)
    assert len(set(chosen)) == 50


def test_any_first_part_is_balanced_and_a_smaller_choice_is_part_of_a_larger_one() -> None:
    images = MemorySet(IN_FOLDER_ORDER)
    largest = select_images(images, 200, seed=3)
    assert sorted(largest) == list(range(200))
    for count in (1, 7, 10, 33, 110):
        chosen = select_images(images, count, seed=3)
        assert chosen == largest[:count]
        counts = Counter(IN_FOLDER_ORDER[index] for index in chosen)
        assert max(counts.values()) - min(counts[label] for label in range(10)) <= 1


def test_the_seed_decides_and_nothing_else() -> None:
    images = MemorySet(IN_FOLDER_ORDER)
    assert select_images(images, 20, seed=1) == select_images(MemorySet(IN_FOLDER_ORDER), 20, seed=1)
    assert select_images(images, 20, seed=1) != select_images(images, 20, seed=2)


def test_classes_that_run_out_leave_their_turn_to_the_others() -> None:
    labels = [0] * 3 + [1] * 30
    chosen = [labels[index] for index in select_images(MemorySet(labels), 20, seed=0)]
    assert Counter(chosen) == {0: 3, 1: 17}
    assert Counter(chosen[:6]) == {0: 3, 1: 3}


def test_all_images_in_the_sets_order_when_no_number_is_given() -> None:
    assert select_images(MemorySet([1, 0, 1]), None, seed=5) == [0, 1, 2]


def test_photos_are_balanced_over_the_photographs() -> None:
    chosen = select_images(open_set("photos"), 14, seed=0)
    assert Counter(index % 7 for index in chosen) == dict.fromkeys(range(7), 2)


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (0, "a number of images >= 1, got 0; change --num-images"),
        (-4, "a number of images >= 1, got -4"),
        (201, "at least 201 images in memory, got 200; lower --num-images"),
    ],
)
def test_numbers_that_cannot_be_had(count: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        select_images(MemorySet(IN_FOLDER_ORDER), count, seed=0)


def test_labels_must_be_the_models() -> None:
    images = MemorySet([0, 1, 12])
    require_labels(images, [0, 1, 2], 13)
    require_labels(images, [0, 1], 10)  # the images that are used count
    message = r"labels from 0 to 9, the model's, got label 12 in memory with the classes 0, 1, .*; .*num_classes"
    with pytest.raises(InputError, match=message):
        require_labels(images, [0, 1, 2], 10)
    with pytest.raises(InputError, match="got label -1 in memory"):
        require_labels(MemorySet([0, -1]), [0, 1], 10)
    with pytest.raises(InputError, match="expected images with labels, got memory, which has none"):
        require_labels(MemorySet(None, count=2), [0, 1], 10)
