"""Nearest neighbours against a reference that computes everything at once, and at answers that are known."""

from __future__ import annotations

import math
from collections import defaultdict

import pytest
import torch
from torch import Tensor

from stmbench.errors import ConfigError, UnitError
from stmbench.measure import nearest_neighbours as nn
from stmbench.measure.nearest_neighbours import NO_CLASS, knn_classes, knn_predictions, nearest_neighbours
from stmbench.measure.proportions import proportion


def _features(count: int, width: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def _reference(bank: Tensor, labels: Tensor, queries: Tensor, k: int, temperature: float) -> list[int]:
    """One query at a time, in plain Python."""
    found = []
    for query in queries.tolist():
        cosines = []
        for row, label in zip(bank.tolist(), labels.tolist(), strict=True):
            dot = sum(a * b for a, b in zip(query, row, strict=True))
            cosines.append((dot / math.hypot(*query) / math.hypot(*row), label))
        votes: dict[int, float] = defaultdict(float)
        for cosine, label in sorted(cosines, reverse=True)[:k]:
            votes[label] += math.exp(cosine / temperature)
        found.append(min(votes, key=lambda label: (-votes[label], label)))
    return found


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_predictions_are_those_of_the_reference_in_blocks_too(
    temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, queries = _features(90), _features(40, seed=1)
    labels = torch.arange(90) % 5
    ks = (1, 7, 30, 90)
    expected = {k: _reference(bank, labels, queries, k, temperature) for k in ks}
    assert len({tuple(values) for values in expected.values()}) > 1  # k decides

    def predicted() -> dict[int, list[int]]:
        found = knn_predictions(bank, labels, queries, k=ks, temperature=temperature, num_classes=5)
        return {k: classes.tolist() for k, classes in found.items()}

    assert predicted() == expected
    monkeypatch.setattr(nn, "BANK_ROWS", 16)  # the last block has 10 rows
    monkeypatch.setattr(nn, "BLOCK_BYTES", 7 * 4 * 16)  # 7 queries at once, 11 for the votes
    assert predicted() == expected


def test_separable_clusters_are_told_apart_whatever_their_scale() -> None:
    centres = 10 * torch.eye(4, 8)
    labels = torch.arange(80) % 4
    bank = (centres[labels] + _features(80)) * torch.linspace(0.1, 9, 80)[:, None]
    queries = centres[labels] + _features(80, seed=1)
    found = knn_predictions(bank.half(), labels, queries, k=(5, 20), num_classes=4)
    assert all(torch.equal(classes, labels) for classes in found.values())


def test_shuffled_labels_are_chance_within_its_interval() -> None:
    bank, queries = _features(300), _features(400, seed=3)
    labels = torch.randint(4, (300,), generator=torch.Generator().manual_seed(4))
    for found in knn_predictions(bank, labels, queries, k=(5, 50), num_classes=4).values():
        interval = proportion((found == torch.arange(400) % 4).numpy())
        assert interval.low < 0.25 < interval.high


def test_equal_votes_go_to_the_lower_class() -> None:
    bank = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    query = torch.tensor([[2.0, 0.0]])
    assert knn_predictions(bank, torch.tensor([2, 1, 0]), query, k=(2, 3), num_classes=3)[2].tolist() == [1]


def test_many_neighbours_outvote_one_that_is_nearer_only_at_a_high_temperature() -> None:
    similarities, labels = torch.tensor([[0.9, 0.5, 0.5, 0.5]]), torch.tensor([[0, 3, 3, 3]])
    cold = knn_classes(similarities, labels, k=(4,), temperature=0.07, num_classes=4, top=3)
    warm = knn_classes(similarities, labels, k=(1, 4), temperature=10.0, num_classes=4, top=3)
    assert cold[4].tolist() == [[0, 3, NO_CLASS]]  # classes without a vote are no answers
    assert (warm[1].tolist(), warm[4].tolist()) == ([[0, NO_CLASS, NO_CLASS]], [[3, 0, NO_CLASS]])
    assert knn_classes(similarities, labels, k=(4,), temperature=1e-4, num_classes=4)[4].tolist() == [[0]]


def test_neighbours_come_nearest_first_with_their_cosines() -> None:
    bank = torch.tensor([[0.0, 2.0], [3.0, 3.0], [5.0, 0.0], [0.0, 0.0]])
    cosines, rows = nearest_neighbours(bank, torch.tensor([[1.0, 0.0]]), 4)
    assert rows[0, :2].tolist() == [2, 1]
    assert cosines[0].tolist() == pytest.approx([1.0, math.sqrt(0.5), 0.0, 0.0])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"k": (1, 7)}, "k from 1 to the 6 features of the bank, got 7"),
        ({"k": (0, 2)}, r"every k to be at least 1, got \(0, 2\)"),
        ({"k": ()}, "every k to be at least 1"),
        ({"temperature": 0.0}, "a temperature above 0, got 0.0"),
        ({"temperature": math.nan}, "a temperature above 0, got nan"),
        ({"num_classes": 2}, "6 labels from 0 to 1, got 6 from 0 to 2"),
        ({"bank_labels": torch.zeros(5)}, "6 labels from 0 to 2, got 5"),
        ({"queries": torch.zeros(2, 3)}, "queries with 8 features, got 3"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], expected: str) -> None:
    given = {"bank": _features(6), "bank_labels": torch.arange(6) % 3, "queries": _features(2), "k": (1,)}
    with pytest.raises(ConfigError, match=expected):
        knn_predictions(**{**given, "num_classes": 3, **change})  # type: ignore[arg-type]


def test_features_that_are_not_finite_are_refused() -> None:
    bank = _features(6)
    bank[4, 2] = math.inf
    with pytest.raises(UnitError, match="expected finite features"):
        knn_predictions(bank, torch.zeros(6), _features(2), k=(1,), num_classes=1)
