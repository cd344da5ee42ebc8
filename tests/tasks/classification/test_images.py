"""Training images: the same ones for the same place, and each operation of RandAugment at its last level."""

from __future__ import annotations

import dataclasses
import pickle
import random

import pytest
import torch
from timm.data import auto_augment
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import default_collate
from torchvision.transforms.v2 import functional as tv

from stmbench.data.embedded import Digits
from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import ConfigError, ImageError
from stmbench.tasks.classification.images import (
    TrainingImages,
    erase,
    erased_box,
    images_of,
    posterised,
    timm_transform,
)
from stmbench.tasks.classification.task import Classification
from stmbench.tasks.colours import CHANGES, ORDERS
from stmbench.training.distributed import ProcessGroup
from stmbench.training.presets import DIGITS, PRESETS
from stmbench.training.recipe import Recipe
from tests.data.builders import picture
from tests.data.memory_set import MemorySet
from tests.training.runs import PLAIN, RANDOM, memory, settings

SIZE = Preprocessing(size=(32, 32))


def images(recipe: Recipe, labels: list[int], *, seed: int = 0, corrupt: tuple[int, ...] = ()) -> TrainingImages:
    return images_of(recipe, SIZE, MemorySet(labels, corrupt=corrupt), range(len(labels)), seed)


def test_an_image_is_a_function_of_its_place_in_the_run() -> None:
    first, second = images(RANDOM, [0, 1] * 4), images(RANDOM, [0, 1] * 4)
    one, box, _ = first[(0, 3)][0]
    torch.rand(9)
    random.random()
    first[(0, 4)]
    assert torch.equal(second[(0, 3)][0][0], one)
    assert torch.equal(second[(0, 3)][0][1], box)
    later = [second[(epoch, 3)][0] for epoch in range(1, 9)]
    others = [images(RANDOM, [0, 1] * 4, seed=seed)[(0, 3)][0] for seed in range(1, 9)]
    for found in (later, others):  # a picture of one colour may look the same twice, but not its every change
        assert len({(pixels.numpy().tobytes(), *box.tolist()) for pixels, box, _ in found}) > 4
    assert (one.shape, one.dtype, box.shape) == ((3, 32, 32), torch.uint8, (5,))


def test_an_evaluations_image_shifted() -> None:
    found = images(dataclasses.replace(PLAIN, crop_pixels=0), [0, 1])
    image, _ = found.image_set.read(1)
    wanted = SIZE.normalise(SIZE.pixels(image)[None])
    torch.testing.assert_close(SIZE.normalise_levels(found[(0, 1)][0][0][None]), wanted, rtol=0, atol=0)
    moved = [images(PLAIN, [0, 1])[(epoch, 1)][0][0] for epoch in range(20)]
    assert {tensor.shape for tensor in moved} == {(3, 32, 32)}
    assert any(not tensor[:, 0].any() for tensor in moved), "a margin at the top"


def test_images_of_an_embedded_set_are_read_once_and_shifted_in_each_epoch() -> None:
    digits, reads = Digits(split="train"), list[int]()
    read = digits.read
    digits.read = lambda index: (reads.append(index), read(index))[1]  # type: ignore[method-assign]
    kept, again = (images_of(DIGITS, SIZE, digits, indices, 3) for indices in (range(9), (5,)))
    padded = F.pad(SIZE.levels(read(5)[0]), [2] * 4)
    corners = {
        padded[:, top : top + 32, left : left + 32].numpy().tobytes(): (top, left)
        for top in range(5)
        for left in range(5)
    }
    found = [kept[(epoch, 5)] for epoch in range(300)]
    assert reads == [5]
    drawn = [corners[pixels.contiguous().numpy().tobytes()] for (pixels, *_), *_ in found]
    for side in zip(*drawn, strict=True):
        assert {place: side.count(place) for place in range(5)} == pytest.approx(dict.fromkeys(range(5), 60), abs=25)
    assert {(label, flag) for _, label, flag in found} == {(read(5)[1], 0)}
    for epoch in (7, 2):
        assert torch.equal(again[(epoch, 0)][0][0], found[epoch][0][0]), "whatever was asked for before"


@pytest.mark.parametrize("name", ["stm_conv", "cot_advanced"])
def test_every_operation_at_the_last_level(name: str) -> None:
    steps = timm_transform(PRESETS[name], SIZE).transforms
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
        images(dataclasses.replace(RANDOM, **change), [0, 1])  # type: ignore[arg-type]


def test_a_damaged_image_is_the_next_one() -> None:
    found = images(PLAIN, [0, 1, 0, 1], corrupt=(1,))
    assert [found[(0, place)][1:] for place in range(4)] == [(0, 0), (0, 1), (0, 0), (1, 0)]
    nothing = images(PLAIN, [0, 1], corrupt=(0, 1))
    with pytest.raises(ImageError, match="not one of 2 images of memory could be read"):
        nothing[(0, 0)]


def test_boxes_are_those_of_the_literature() -> None:
    random.seed(0)
    boxes = [erased_box(0.25, 40, 60) for _ in range(4000)]
    areas = [height * width / 2400 for _, _, height, width, _ in boxes if height]
    assert len(areas) / len(boxes) == pytest.approx(0.25, abs=0.03)
    assert 0.01 < min(areas) < 0.03 < 0.30 < max(areas) < 0.36
    assert all(0 <= top <= 40 - height and 0 <= left <= 60 - width for top, left, height, width, _ in boxes)
    seeds = [seed for *_, seed in boxes if seed]
    assert len(set(seeds)) == len(seeds) == len(areas)
    assert {erased_box(0, 40, 60) for _ in range(9)} == {(0, 0, 0, 0, 0)}


def test_only_the_box_becomes_noise_wherever_the_image_is_in_the_batch() -> None:
    def erased(place: int) -> Tensor:
        found, boxes = torch.full((4, 3, 16, 24), 7.0), torch.zeros(4, 5, dtype=torch.int64)
        boxes[place] = torch.tensor([2, 5, 8, 16, 2**61])
        erase(found, boxes)
        return found

    found, other = erased(1), erased(3)
    assert torch.equal(found[1], other[3])
    assert torch.equal(found[[0, 2, 3]], torch.full((3, 3, 16, 24), 7.0))
    noise, outside = found[1, :, 2:10, 5:21], found[1].clone()
    outside[:, 2:10, 5:21] = 7
    assert torch.equal(outside, torch.full((3, 16, 24), 7.0))
    assert float(noise.mean()) == pytest.approx(0, abs=0.2)
    assert float(noise.std()) == pytest.approx(1, abs=0.15)


JITTERED = dataclasses.replace(RANDOM, auto_augment=None, color_jitter=0.6, random_erasing=0.0)


def test_colours_are_drawn_as_timm_has_them() -> None:
    drawn = torch.tensor([images(JITTERED, [0], seed=seed)[(0, 0)][0][2].tolist() for seed in range(400)])
    columns = dict(zip(CHANGES, drawn.unbind(1), strict=True))
    for name in ("brightness", "contrast", "saturation"):
        assert 0.4 <= columns[name].min() < 0.45
        assert 1.55 < columns[name].max() <= 1.6
        assert columns[name].mean() == pytest.approx(1, abs=0.06)
    assert len(set(columns["order"].tolist())) == 24
    assert columns["jitters"].all()
    assert not any(columns[name].any() for name in ("hue", "grey", "sigma", "solarises"))
    strong = [
        images(dataclasses.replace(JITTERED, color_jitter=3.0), [0], seed=seed)[(0, 0)][0][2] for seed in range(50)
    ]
    assert all((changes[:3] >= 0).all() for changes in strong)


@pytest.mark.parametrize(
    ("augment", "count"), [(None, 9), ("rand-m9-mstd0.5", 0), ("3a", 9)], ids=["none", "RandAugment", "3-Augment"]
)
def test_colours_change_where_timm_changes_them(augment: str | None, count: int) -> None:
    recipe = dataclasses.replace(JITTERED, auto_augment=augment)
    assert images(recipe, [0])[(0, 0)][0][2].shape == (count,)


def test_colours_of_a_batch_are_changed_on_its_device_one_image_like_another() -> None:
    task = Classification(settings(recipe=JITTERED), memory(), ProcessGroup())
    task.prepare(task.build())
    inputs, targets, _ = default_collate([task.images()[(0, place)] for place in range(8)])
    found, _ = task.staged(inputs, targets)
    for number, (pixels, changes) in enumerate(zip(inputs[0] / 255, inputs[2], strict=True)):
        expected = pixels
        for step in ORDERS[int(changes[4])]:
            if step < 3:
                adjust = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation)[step]
                expected = adjust(expected, float(changes[step]))
        normalised = task.preprocessing.normalise(expected[None])
        torch.testing.assert_close(found[number : number + 1], normalised, rtol=0, atol=2e-5)
        alone, _ = task.staged([part[number : number + 1] for part in inputs], targets)
        assert torch.equal(alone[0], found[number])
    assert not torch.equal(found, task.preprocessing.normalise(inputs[0] / 255))


def test_a_pickled_set_has_no_windows() -> None:
    found = images_of(DIGITS, SIZE, Digits(split="train"), range(40), 0)
    before = len(pickle.dumps(found))
    keys = [(0, place) for place in range(40)]
    first = found.__getitems__(keys)
    found.__getitems__(keys)
    again = pickle.loads(pickle.dumps(found))
    assert len(pickle.dumps(found)) < 1.1 * before  # and the shifts of an epoch
    assert torch.equal(again.__getitems__(keys)[0][0], first[0][0])
