"""Relational pictures: the class is in no figure alone, and no window of 63 pixels holds both facts."""

from __future__ import annotations

import collections
import itertools

import numpy as np
import pytest

from stmbench.data.sets import open_set
from stmbench.data.shapes.dataset import SPLITS
from stmbench.data.shapes.relations.catalog import RELATIONS, relation_scene
from stmbench.data.shapes.relations.dataset import RelationalShapes
from stmbench.data.shapes.relations.picture import GAP, MARGIN, Plan
from stmbench.data.shapes.relations.same import KINDS
from stmbench.errors import ConfigError, UnknownNameError

NAMES = sorted(RELATIONS)
PLANS = {name: [relation_scene(0, index, 96, name).plan for index in range(480)] for name in NAMES}


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


def test_same_means_the_same_kind_and_each_kind_is_as_often_in_either_class() -> None:
    counts: collections.Counter[tuple[int, int, str]] = collections.Counter()
    for plan in PLANS["same"]:
        left, right = plan.figures
        assert plan.label == (left.kind == right.kind)
        counts.update((plan.label, place, figure.kind) for place, figure in enumerate(plan.figures))
    for place, kind in itertools.product((0, 1), KINDS):
        assert counts[0, place, kind] == counts[1, place, kind] > 40


def _facts(plan: Plan) -> list[list[float]]:
    """For each figure what can be measured of it, the ground's grey last."""
    return [
        [figure.x, figure.y, figure.radius, figure.turn, *(figure.colour == name for name in ("red", "green", "blue"))]
        for figure in plan.figures
    ] + [[plan.ground]]


@pytest.mark.parametrize("name", NAMES)
def test_no_fact_of_a_single_figure_tells_the_class(name: str) -> None:
    labels = np.array([plan.label for plan in PLANS[name]])
    facts = np.array([[value for part in _facts(plan) for value in part] for plan in PLANS[name]])
    varied = facts[:, facts.std(0) > 1e-9]
    scores = [abs(np.corrcoef(column, labels)[0, 1]) for column in varied.T]
    assert max(scores) < 4 / np.sqrt(len(labels))  # four standard deviations of chance


@pytest.mark.parametrize("name", NAMES)
def test_figures_lie_far_apart_and_within_the_centre_crop(name: str) -> None:
    for plan in PLANS[name]:
        boxes = []
        for figure in plan.figures:
            outline = figure.polygons()[0]
            assert outline.min() >= MARGIN - 1e-9
            assert outline.max() <= 1 - MARGIN + 1e-9
            boxes.append((outline.min(0), outline.max(0)))
        for (low, high), (other_low, other_high) in itertools.combinations(boxes, 2):
            assert max((other_low - high).max(), (low - other_high).max()) >= GAP - 1e-9


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
