"""Linear probes at answers that are known, and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional

from stmbench.analyses.probe.linear import RATES, STRENGTHS, fit_linear, hold_out, logistic, sgd
from stmbench.errors import ConfigError


def _clusters(count: int, distance: float, classes: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    return distance * torch.eye(classes, 12)[labels] + torch.randn(count, 12, generator=random), labels


@pytest.mark.parametrize("solver", ["sgd", "logistic"])
def test_separable_classes_are_told_apart_whatever_the_scale_of_features(solver: str) -> None:
    features, labels = _clusters(200, 12.0)
    queries, wanted = _clusters(80, 12.0, seed=1)
    scale, shift = torch.logspace(-3, 3, 12), torch.linspace(-5, 5, 12)
    constant = torch.full((1,), 0.3)
    features, queries = (torch.cat([x * scale + shift, constant.expand(len(x), 1)], 1) for x in (features, queries))
    probe = fit_linear(features, labels, num_classes=4, solver=solver, epochs=20)
    assert torch.equal(probe.predict(queries), wanted)
    assert probe.held_out[probe.chosen] == 1
    assert tuple(probe.held_out) == (RATES if solver == "sgd" else STRENGTHS)
    assert probe.held_out_count == 20


def test_what_is_chosen_is_best_on_the_held_out_images_and_fitted_to_all() -> None:
    features, labels = _clusters(600, 1.5)
    probe = fit_linear(features, labels, num_classes=4, epochs=2, seed=3)
    assert probe.held_out[probe.chosen] == max(probe.held_out.values()) < 1
    assert len(set(probe.held_out.values())) > 1
    assert torch.allclose(probe.mean, features.mean(0), atol=1e-6)
    again = fit_linear(features, labels, num_classes=4, epochs=2, seed=3)
    other = fit_linear(features, labels, num_classes=4, epochs=2, seed=4)
    assert torch.equal(probe.weights, again.weights)
    assert not torch.equal(probe.weights, other.weights)


def test_a_rate_is_trained_alike_alone_and_with_others_that_diverge() -> None:
    features, labels = _clusters(300, 2.0)
    alone = sgd(features, labels, 4, (0.01,), epochs=3, seed=0)
    among = sgd(features, labels, 4, (0.1, 0.01, math.inf), epochs=3, seed=0)
    assert torch.allclose(among[1], alone[0], atol=1e-6)
    assert not bool(among[2].isfinite().all())


def test_sgd_is_that_of_torch() -> None:
    features, labels = _clusters(64, 1.0)  # one batch an epoch
    weights = torch.zeros(12, 4, requires_grad=True)
    optimiser = torch.optim.SGD([weights], lr=0.3 * 64 / 256, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=5)
    for _ in range(5):
        optimiser.zero_grad()
        functional.cross_entropy(features @ weights, labels).backward()
        optimiser.step()
        schedule.step()
    assert torch.allclose(sgd(features, labels, 4, (0.3,), epochs=5, seed=0)[0], weights.detach(), atol=1e-6)


@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_logistic_regression_is_scikit_learns(strength: float) -> None:
    features, labels = _clusters(90, 1.5, classes=3)
    rows = torch.cat([features, torch.ones(90, 1)], 1)
    (found,) = logistic(rows, labels, 3, (strength,))
    theirs = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(features.double().numpy(), labels.numpy())
    assert found[:-1].T.numpy() == pytest.approx(theirs.coef_, abs=1e-5)
    bias = found[-1].numpy()  # a constant may be added to all
    assert bias - bias.mean() == pytest.approx(theirs.intercept_ - theirs.intercept_.mean(), abs=1e-5)


def test_a_tenth_of_each_class_is_held_out() -> None:
    labels = torch.from_numpy(np.repeat([0, 1, 2, 3], [40, 8, 2, 1]))
    kept, out = hold_out(labels, seed=0)
    assert labels[out].bincount(minlength=4).tolist() == [4, 1, 1, 0]
    assert sorted([*kept.tolist(), *out.tolist()]) == list(range(51))
    assert torch.equal(out, hold_out(labels, seed=0)[1])
    assert not torch.equal(out, hold_out(labels, seed=1)[1])


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [([0, 0, 0], 1, "at least two classes, got 1"), ([0, 1, 2], 3, "a class with two training images")],
)
def test_too_few_images_are_refused(labels: list[int], classes: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit_linear(torch.zeros(3, 2), torch.tensor(labels), num_classes=classes)
