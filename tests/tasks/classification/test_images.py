"""Training images: the same ones for the same place, and each operation of RandAugment at its last level."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from timm.data import auto_augment

from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import ConfigError, ImageError
from stmbench.tasks.classification.images import TrainingImages, posterised, transform_of
from stmbench.training.presets import PRESETS
from tests.data.builders import picture
from tests.data.memory_set import MemorySet
from tests.training.runs import PLAIN, RANDOM

SIZE = Preprocessing(size=(32, 32))


def test_an_image_is_a_function_of_its_place_in_the_run() -> None:
    first, second = (TrainingImages(MemorySet([0, 1] * 4), range(8), transform_of(RANDOM, SIZE), 0) for _ in range(2))
    one = first[(0, 3)][0]
    torch.rand(9)
    first[(0, 4)]
    assert torch.equal(second[(0, 3)][0], one)
    assert not torch.equal(second[(1, 3)][0], one), "another epoch"
    assert not torch.equal(
        TrainingImages(MemorySet([0, 1] * 4), range(8), transform_of(RANDOM, SIZE), 1)[(0, 3)][0], one
    )
    assert one.shape == (3, 32, 32)


def test_an_evaluations_image_shifted() -> None:
    image = picture(3)
    plain = transform_of(dataclasses.replace(PLAIN, crop_pixels=0), SIZE)(image)
    torch.testing.assert_close(plain, SIZE.normalise(SIZE.pixels(image)[None])[0])
    black = SIZE.normalise(torch.zeros(1, 3, 32, 32))[0]
    moved = [transform_of(PLAIN, SIZE)(image) for _ in range(20)]
    assert {tensor.shape for tensor in moved} == {(3, 32, 32)}
    assert any(torch.equal(tensor[:, 0], black[:, 0]) for tensor in moved), "a margin at the top"


@pytest.mark.parametrize("name", ["stm_conv", "cot_advanced"])
def test_every_operation_at_the_last_level(name: str) -> None:
    steps = transform_of(PRESETS[name], SIZE).transforms
    (augment,) = [step for step in steps if isinstance(step, auto_augment.RandAugment)]
    assert posterised in [operation.aug_fn for operation in augment.ops]
    for operation in augment.ops:
        operation.prob, operation.magnitude, operation.magnitude_std = 1.0, 10, 0
        assert operation(picture(3)).size == picture(3).size


def test_no_bits_are_black() -> None:
    assert posterised(picture(3), 0).getextrema() == ((0, 0),) * 3
    assert posterised(picture(3), 8) == picture(3)
    assert posterised(picture(3), 2) != picture(3)


@pytest.mark.parametrize("change", [{"auto_augment": "zzz"}, {"auto_augment": "rand-m9", "interpolation": "zzz"}])
def test_augmentation_that_timm_does_not_know(change: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"augmentation that timm knows, got .*zzz"):
        transform_of(dataclasses.replace(RANDOM, **change), SIZE)  # type: ignore[arg-type]


def test_a_damaged_image_is_the_next_one() -> None:
    images = TrainingImages(MemorySet([0, 1, 0, 1], corrupt=(1,)), range(4), transform_of(PLAIN, SIZE), 0)
    assert [images[(0, place)][1:] for place in range(4)] == [(0, 0), (0, 1), (0, 0), (1, 0)]
    nothing = TrainingImages(MemorySet([0, 1], corrupt=(0, 1)), range(2), transform_of(PLAIN, SIZE), 0)
    with pytest.raises(ImageError, match="not one of 2 images of memory could be read"):
        nothing[(0, 0)]
