"""Relational pictures: the class is in no figure alone, and no window of 63 pixels holds both facts."""

from __future__ import annotations

import collections
import dataclasses
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from stmbench.architectures.catalog import create_model
from stmbench.data.preprocessing import Preprocessing
from stmbench.data.sets import open_set
from stmbench.data.shapes.dataset import SPLITS, RelationalShapes
from stmbench.data.shapes.relations import GAP, MARGIN, RELATIONS, STRIP, Figure, Plan, draw, relation_scene
from stmbench.errors import ConfigError, UnknownNameError

NAMES = sorted(RELATIONS)
PLANS = {name: [relation_scene(0, index, 96, name).plan for index in range(240)] for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_pure_function_of_seed_index_size_and_relation(name: str) -> None:
    first, again = (relation_scene(3, 17, 96, name).image for _ in range(2))
    assert first.shape == (96, 96, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, relation_scene(4, 17, 96, name).image)
    assert not np.array_equal(first, relation_scene(3, 21, 96, name).image)
    others = [relation_scene(3, 17, 96, other).image for other in NAMES if other != name]
    assert not any(np.array_equal(first, other) for other in others)


@pytest.mark.parametrize("name", NAMES)
def test_classes_are_balanced_and_splits_never_meet(name: str) -> None:
    sets = {split: RelationalShapes(relation=name, split=split, count=40) for split in SPLITS}
    seen = {}
    for split, images in sets.items():
        read = [images.read(index) for index in range(40)]
        assert [label for _, label in read] == images.labels().tolist() == [0, 1] * 20
        seen[split] = {image.tobytes() for image, _ in read}
        assert len(seen[split]) == 40
    assert all(not seen[one] & seen[other] for one, other in itertools.combinations(SPLITS, 2))
    assert len({images.fingerprint() for images in sets.values()}) == 3


def _asked(name: str, plan: Plan) -> bool:
    """The answer, from what is in the picture."""
    if name == "same":
        (left, *_), (right, *_) = plan.groups
        return left.kind == right.kind
    if name == "larger":
        ((mark,), *discs) = plan.groups
        sizes = {disc.colour: disc.radius for (disc,) in discs}
        return max(sizes, key=sizes.__getitem__) == mark.colour
    (dot,), (other,) = plan.groups
    ends = [curve.points[[0, -1]].tolist() for curve in plan.curves]
    return [[dot.x, dot.y], [other.x, other.y]] in ends


@pytest.mark.parametrize("name", NAMES)
def test_the_label_is_the_answer(name: str) -> None:
    assert [plan.label for plan in PLANS[name]] == [_asked(name, plan) for plan in PLANS[name]]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_group_shows_is_as_often_so_in_either_class(name: str) -> None:
    counts: collections.Counter[tuple[object, ...]] = collections.Counter()
    for plan in PLANS[name]:
        for place, group in enumerate(plan.groups):
            looks = {(figure.kind, figure.colour, figure.radius > 0.7 * STRIP / 2) for figure in group}
            assert len(looks) == 1
            counts[(plan.label, place, *looks.pop())] += 1
    for _, *look in counts:
        assert counts[(0, *look)] == counts[(1, *look)] > 30


@pytest.mark.parametrize("name", NAMES)
def test_no_measure_of_a_single_part_tells_the_class(name: str) -> None:
    labels = np.array([plan.label for plan in PLANS[name]])
    rows = []
    for plan in PLANS[name]:
        figures = [[part.x, part.y, part.radius, part.turn] for group in plan.groups for part in group]
        points = (v for curve in plan.curves for v in curve.points.ravel())
        rows.append([plan.ground, *itertools.chain(*figures), *points])
    facts = np.array(rows)
    varied = facts[:, facts.std(0) > 1e-9]
    scores = [abs(np.corrcoef(column, labels)[0, 1]) for column in varied.T]
    assert max(scores) < 4 / np.sqrt(len(labels))  # four standard deviations of chance


@pytest.mark.parametrize("name", NAMES)
def test_groups_lie_far_apart_and_within_the_centre_crop(name: str) -> None:
    for plan in PLANS[name]:
        boxes = []
        for group in plan.groups:
            outline = np.concatenate([figure.outline() for figure in group])
            assert outline.min() >= MARGIN - 1e-9
            assert outline.max() <= 1 - MARGIN + 1e-9
            boxes.append((outline.min(0), outline.max(0)))
        for (low, high), (other_low, other_high) in itertools.combinations(boxes, 2):
            assert max((other_low - high).max(), (low - other_high).max()) >= GAP - 1e-9


@pytest.mark.parametrize("cropped", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_no_unit_of_a_network_without_mixers_sees_two_groups(name: str, cropped: bool) -> None:
    torch.manual_seed(0)
    model = create_model("unified_identity_nano", num_classes=2, img_size=96).eval()
    maps: list[torch.Tensor] = []
    model.head.register_forward_pre_hook(lambda _, inputs: maps.append(inputs[0]))
    wanted = Preprocessing(size=(96, 96), crop_pct=0.875 if cropped else 1.0)
    for plan in PLANS[name][:8]:
        some = [dataclasses.replace(plan, groups=tuple(part)) for part in _all_but_one(plan.groups)]
        images = [Image.fromarray(draw(shown, np.random.default_rng(0), 96)) for shown in (plan, *some)]
        maps.clear()
        with torch.inference_mode():
            model(wanted.normalise(torch.stack([wanted.pixels(image) for image in images])))
        whole, *without = maps[0]  # (3, 3, C) each
        seen = torch.stack([(whole - part).abs().amax(-1) > 1e-4 for part in without])  # (groups, 3, 3)
        assert seen.sum(0).max() == 1
        assert seen.any(-1).any(-1).all()


def _all_but_one(groups: tuple[tuple[Figure, ...], ...]) -> list[list[tuple[Figure, ...]]]:
    return [[*groups[:left_out], *groups[left_out + 1 :]] for left_out in range(len(groups))]


def test_the_set_by_name() -> None:
    images = open_set("shapes[relation=same]", split="train")
    assert (images.name, images.classes, len(images)) == ("shapes[relation=same]", ("different", "same"), 12_000)
    assert images.read(0)[0].size == (96, 96)
    assert open_set("shapes[relation=same,size=128,count=8]").read(7)[0].size == (128, 128)
    fingerprints = {open_set(f"shapes[relation={name}]").fingerprint() for name in NAMES}
    assert len(fingerprints | {open_set("shapes[size=96]").fingerprint()}) == len(NAMES) + 1


def test_names_that_are_none() -> None:
    with pytest.raises(UnknownNameError, match="a relation of shapes, got 'some'; did you mean same"):
        open_set("shapes[relation=some]")
    with pytest.raises(ConfigError, match=r"a size of shapes\[relation=same\] from 96 to 1024, got 64"):
        open_set("shapes[relation=same,size=64]")
    with pytest.raises(ConfigError, match="a split of shapes"):
        open_set("shapes[relation=same]", split="all")
