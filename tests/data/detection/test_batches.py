"""Training batches: the same images per step for any number of processes, alike in orientation, none lost silently."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from stmbench.data.detection.batches import AlikePlaces, DetectionSamples, collated, training_images
from stmbench.data.detection.sets import open_detection_set
from stmbench.data.detection.transforms import DetectionTransform
from stmbench.errors import ConfigError, ImageError
from tests.data.detection.trees import COCO, coco, write


def many(root: Path, tall: int, wide: int) -> DetectionSamples:
    """Samples of a set whose first images are tall; their files are not there, except one."""
    sizes = [(20, 30)] * tall + [(30, 20)] * wide
    images = [
        {"id": number, "file_name": f"{number}.jpg" if number else "000000000025.jpg", "width": width, "height": height}
        for number, (width, height) in enumerate(sizes)
    ]
    found = open_detection_set(str(write(root, coco(images=images, annotations=[]))))
    return DetectionSamples(found, range(len(images)), DetectionTransform(), masks=False, seed=0)


def steps(samples: DetectionSamples, epoch: int, *, processes: int = 1, start: int = 0) -> list[list[int]]:
    """The places of each step, put together from all processes."""
    parts = []
    for rank in range(processes):
        places = AlikePlaces(samples, batch=4, processes=processes, rank=rank, seed=5)
        places.epoch, places.start = epoch, start
        keys = list(places)
        assert len(keys) == len(places)
        assert {key[0] for key in keys} == {epoch}
        parts.append([keys[first : first + places.local] for first in range(0, len(keys), places.local)])
    return [[place for share in step for _, place in share] for step in zip(*parts, strict=True)]


def test_steps_are_alike_and_the_same_for_any_number_of_processes(tmp_path: Path) -> None:
    samples = many(tmp_path, tall=14, wide=33)
    found = steps(samples, 2)
    assert len(found) == 47 // 4
    mixed = [step for step in found if 0 < sum(place < 14 for place in step) < 4]
    assert len(mixed) <= 1
    assert mixed in ([], [found[-1]])
    assert sum(all(place < 14 for place in step) for step in found) == 3
    for processes in (2, 4):
        assert [sorted(step) for step in steps(samples, 2, processes=processes)] == [sorted(step) for step in found]
    assert steps(samples, 2, start=5) == found[5:]
    assert steps(samples, 3) != found
    assert len({place for step in found for place in step}) == 44


def test_an_odd_share_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="4 over 3 processes"):
        AlikePlaces(many(tmp_path, 4, 4), batch=4, processes=3, rank=0, seed=0)


def test_images_without_objects_are_left_out_of_training(tmp_path: Path) -> None:
    content = coco(annotations=[COCO["annotations"][0], COCO["annotations"][2]])  # image 9 has crowd alone
    images = open_detection_set(str(write(tmp_path / "coco", content)))
    assert training_images(images) == (
        (1,),
        ("coco: 2 of 3 images of val have no objects and are not trained on",),
    )
    assert training_images(images, empty=True) == ((0, 1, 2), ())
    assert training_images(open_detection_set("shapes[count=5]")) == ((0, 1, 2, 3, 4), ())
    none = open_detection_set(str(write(tmp_path / "none", coco(annotations=[]))))
    with pytest.raises(ConfigError, match="none of 3 in none's val"):
        training_images(none)


def test_an_image_that_cannot_be_read_is_replaced_and_counted(tmp_path: Path) -> None:
    root = write(tmp_path)
    (root / "val2017" / "000000000009.jpg").write_bytes(b"no jpeg")
    images = open_detection_set(str(root))
    samples = DetectionSamples(images, [0, 1], DetectionTransform(), masks=True, seed=0)
    for place, flag in ((0, 1), (1, 0)):
        _, target, damaged = samples[0, place]
        assert (target["image_id"], damaged) == (25, flag)
    (root / "val2017" / "000000000025.jpg").unlink()
    with pytest.raises(ImageError, match="not one of 2 images"):
        samples[0, 0]


def test_an_item_depends_on_seed_epoch_and_image_alone() -> None:
    def items(seed: int, epoch: int) -> list[torch.Tensor]:
        images = open_detection_set("shapes[size=32,count=12]")
        transform = DetectionTransform(shorter_sides=range(32, 64))
        samples = DetectionSamples(images, range(12), transform, masks=True, seed=seed)
        state, drawn = torch.get_rng_state(), np.random.get_state()[1:3]
        found = [samples[epoch, place][0] for place in (7, 3, 7)]
        assert torch.equal(torch.get_rng_state(), state)
        assert str(np.random.get_state()[1:3]) == str(drawn)
        return found

    first, again = items(0, 1), items(0, 1)
    assert all(map(torch.equal, first, again))
    assert torch.equal(first[0], first[2])
    assert {image.shape for image in items(0, 2)} != {image.shape for image in first}
    assert {image.shape for image in items(1, 1)} != {image.shape for image in first}


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_of_a_loader(workers: int) -> None:
    images = open_detection_set("shapes[size=32,count=24]", split="train")
    samples = DetectionSamples(images, range(24), DetectionTransform(), masks=True, seed=0)
    places = AlikePlaces(samples, batch=8, processes=1, rank=0, seed=0)
    loader = DataLoader(samples, batch_size=4, sampler=places, collate_fn=collated, num_workers=workers)
    batches = list(loader)
    assert len(batches) == 6
    pictures, targets, flags = batches[0]
    assert [picture.shape for picture in pictures] == [(3, 32, 32)] * 4
    assert flags.tolist() == [0] * 4
    assert sorted(target["image_id"] for _, found, _ in batches for target in found) == list(range(24))
    assert targets[0]["masks"].shape == (len(targets[0]["boxes"]), 32, 32)
