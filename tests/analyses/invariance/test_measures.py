"""Consistency, accuracy, soft cross-entropy and areas, against hand calculations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stmbench.analyses.invariance.scores import Answers, curve, gather, soft_cross_entropy


def answers(predicted: list[list[int]], reference: list[int], labels: list[int]) -> Answers:
    table = np.array(predicted)
    return Answers(
        indices=np.arange(len(reference)),
        labels=np.array(labels),
        reference=np.array(reference),
        predicted=table,
        cross_entropy=np.where(table < 0, np.nan, table.astype(float)),
        moved=np.zeros(table.shape),
    )


FOUR = answers(
    [[0, 1, 2, 3], [0, 1, 2, 0], [0, 0, 0, 0]],  # levels 0, 10, 30
    reference=[0, 1, 2, 3],
    labels=[0, 1, 0, 0],
)


@pytest.mark.parametrize(
    ("metric", "values", "area"),
    [
        ("consistency", (1, 3 / 4, 1 / 4), (10 * 0.875 + 20 * 0.5) / 30),
        ("accuracy", (1 / 2, 3 / 4, 3 / 4), (10 * 0.625 + 20 * 0.75) / 30),
        ("consistency_on_correct", (1, 1, 1 / 2), (10 * 1 + 20 * 0.75) / 30),
        ("soft_cross_entropy", (1.5, 0.75, 0), (10 * 1.125 + 20 * 0.375) / 30),
    ],
)
def test_by_hand(metric: str, values: tuple[float, ...], area: float) -> None:
    found = curve(FOUR, metric, (0, 10, 30), seed=0)
    assert found is not None
    assert found.levels == (0, 10, 30)
    assert [interval.estimate for interval in found.intervals] == pytest.approx(values)
    assert found.area is not None
    assert found.area.estimate == pytest.approx(area)
    assert all(i.low <= i.estimate <= i.high for i in (*found.intervals, found.area))


def test_few_images_that_all_agree_leave_room() -> None:
    found = curve(FOUR, "consistency_on_correct", (0, 10, 30), seed=0, unmoved=0)
    assert found is not None
    assert (found.intervals[0].low, found.intervals[0].high) == (1, 1)  # by definition
    assert found.intervals[1].low == pytest.approx(2 / (2 + 1.959964**2))  # Wilson 1927
    assert found.area is not None
    assert found.area.low < 0.6
    accuracy = curve(answers([[0]], reference=[0], labels=[0]), "accuracy", (0,), seed=0, unmoved=0)
    assert accuracy is not None
    assert accuracy.intervals[0].low < 0.3


def test_levels_that_some_image_lacks_are_left_out() -> None:
    partly = answers([[0, 1], [0, 1], [0, -1]], reference=[0, 1], labels=[0, 1])
    assert partly.supplied().tolist() == [2, 2, 1]
    found = curve(partly, "consistency", (0, 10, 30), seed=0)
    assert found is not None
    assert found.levels == (0, 10)
    nothing = answers([[-1, 1]], reference=[0, 1], labels=[0, 1])
    assert curve(nothing, "consistency", (5,), seed=0) is None


def test_one_level_has_no_area_and_no_correct_image_no_curve() -> None:
    found = curve(answers([[0, 1]], reference=[0, 1], labels=[1, 0]), "consistency", (4,), seed=0)
    assert found is not None
    assert found.area is None
    assert curve(answers([[0, 1]], reference=[0, 1], labels=[1, 0]), "consistency_on_correct", (4,), seed=0) is None


def test_soft_cross_entropy_is_least_where_nothing_changes() -> None:
    logits = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    p = logits.double().softmax(1)
    entropy = -(p * p.log()).sum(1)
    assert torch.allclose(soft_cross_entropy(logits, logits), entropy)
    assert (soft_cross_entropy(logits.roll(1, 0), logits) > entropy).all()


def test_batches_are_put_together_image_by_image() -> None:
    one = {
        "indices": torch.tensor([4]),
        "labels": torch.tensor([-1]),
        "reference": torch.tensor([2]),
        "predicted": torch.tensor([[2], [3]]),
        "cross_entropy": torch.zeros(2, 1),
        "moved": torch.zeros(2, 1),
    }
    two = {**one, "indices": torch.tensor([7])}
    found = gather([one, two])
    assert found.predicted.tolist() == [[2, 2], [3, 3]]
    assert found.indices.tolist() == [4, 7]
    assert not found.is_labelled
