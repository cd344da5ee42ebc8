"""CKA, effective rank and uniformity against known answers, direct formulas and simulations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from stmbench.analyses.similarity import measures
from stmbench.analyses.similarity.measures import (
    Floats,
    centred_gram,
    cka,
    cka_matrix,
    effective_rank,
    effective_rank_interval,
    uniformity,
)


def _random(n: int, width: int, seed: int) -> Tensor:
    return torch.randn(n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _layer(features: Tensor, batch: int | None = None) -> Floats:
    """(batches, P) of one layer."""
    return np.stack([centred_gram(part) for part in features.split(batch or len(features))])


def _hsic(k: Floats, ell: Floats) -> float:
    """HSIC_1 of Song et al. 2012, equation 5, sum by sum: over all ordered pairs, triples and quadruples."""
    n = len(k)
    indices = range(n)
    pairs = sum(k[i, j] * ell[i, j] for i, j in itertools.permutations(indices, 2)) / (n * (n - 1))
    triples = sum(k[i, j] * ell[i, m] for i, j, m in itertools.permutations(indices, 3)) / (n * (n - 1) * (n - 2))
    quadruples = sum(k[i, j] * ell[m, q] for i, j, m, q in itertools.permutations(indices, 4))
    return float(pairs - 2 * triples + quadruples / (n * (n - 1) * (n - 2) * (n - 3)))


def _biased_cka(x: Tensor, y: Tensor) -> float:
    x, y = x - x.mean(0), y - y.mean(0)
    return float((y.T @ x).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm()))


def test_hsic_is_the_sum_over_pairs_triples_and_quadruples() -> None:
    x, y = 5 + _random(7, 3, 0), _random(7, 4, 1)
    one, other, n = _layer(x), _layer(y), 7
    found = 2 * float((one * other).sum()) / (n * (n - 3))
    assert found == pytest.approx(_hsic((x @ x.T).numpy(), (y @ y.T).numpy()), abs=1e-12)


def test_an_image_left_out_is_hsic_of_the_others() -> None:
    x, y = _random(6, 3, 0), _random(6, 4, 1)
    left_out = measures._means_without_each(_layer(x), _layer(y), 6)
    for image in range(6):
        kept = [other for other in range(6) if other != image]
        k, ell = ((z[kept] @ z[kept].T).numpy() for z in (x, y))
        assert left_out[image] == pytest.approx(_hsic(k, ell), abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_no_cka_and_no_end_of_it_lies_beyond_1(seed: int) -> None:
    layer = _layer(_random(20, 7, seed) + 3)
    found = cka(layer, layer)
    assert found.low <= found.estimate <= found.high <= 1
    assert found.estimate == pytest.approx(1, abs=1e-12)
    assert float(cka_matrix(layer[None], layer[None]).max()) <= 1


def test_a_rotated_and_scaled_copy_is_the_same() -> None:
    x = _random(32, 10, 0)
    rotation, _ = torch.linalg.qr(_random(10, 10, 1))
    interval = cka(_layer(x), _layer(3.7 * x @ rotation + 100))
    assert interval.estimate == pytest.approx(1, abs=1e-10)
    assert (interval.low, interval.high) == pytest.approx((1, 1), abs=1e-7)
    assert cka(_layer(x), _layer(x)).estimate == pytest.approx(1, abs=1e-14)
    assert cka(_layer(x), _layer(x * torch.linspace(1, 5, 10))).estimate < 0.999


def test_independent_noise_is_near_0_and_the_biased_estimate_is_not() -> None:
    x, y = _random(256, 512, 0), _random(256, 512, 1)
    assert abs(cka(_layer(x), _layer(y)).estimate) < 0.05
    assert _biased_cka(x, y) > 0.3


def test_many_images_of_few_channels_give_the_usual_cka() -> None:
    x = _random(2048, 6, 0)
    y = torch.cat([x[:, :3], _random(2048, 3, 1)], dim=1)
    assert cka(_layer(x), _layer(y)).estimate == pytest.approx(_biased_cka(x, y), abs=3e-3)


def test_minibatches_are_averaged_before_the_ratio_and_their_order_does_not_matter() -> None:
    x, y = _random(24, 5, 0), _random(24, 5, 0) + _random(24, 5, 1)
    parts = [[_hsic((a @ a.T).numpy(), (b @ b.T).numpy()) for a, b in zip(u.split(8), v.split(8), strict=True)]
             for u, v in ((x, y), (x, x), (y, y))]  # fmt: skip
    both, first, second = map(sum, parts)
    found = cka(_layer(x, 8), _layer(y, 8)).estimate
    assert found == pytest.approx(both / math.sqrt(first * second), abs=1e-12)
    shuffled = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    order = torch.cat([start + shuffled for start in (16, 0, 8)])
    assert cka(_layer(x[order], 8), _layer(y[order], 8)).estimate == pytest.approx(found, abs=1e-12)
    assert cka(_layer(x, 12), _layer(y, 12)).estimate != pytest.approx(found, abs=1e-6)


def test_wide_features_are_added_up_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x = _random(6, 50, 0) + 1000
    whole = centred_gram(x)
    monkeypatch.setattr(measures, "AT_ONCE", 6 * 7)
    np.testing.assert_allclose(centred_gram(x.reshape(6, 5, 10)), whole, atol=1e-9)


def test_a_matrix_has_every_pair_and_no_value_for_constant_features() -> None:
    x, y = _random(8, 5, 0), _random(8, 3, 1)
    constant = torch.full((8, 4), 0.1, dtype=torch.float32)
    layers = np.stack([_layer(x), _layer(y), _layer(constant + 1e-8)])
    found = cka_matrix(layers, layers[:2])
    assert found.shape == (3, 2)
    assert found[0, 1] == found[1, 0] == pytest.approx(cka(_layer(x), _layer(y)).estimate)
    assert np.isnan(found[2]).all()
    assert math.isnan(cka(_layer(constant), _layer(x)).estimate)


def test_four_images_have_a_value_without_an_interval() -> None:
    interval = cka(_layer(_random(4, 5, 0)), _layer(_random(4, 5, 1)))
    assert math.isfinite(interval.estimate)
    assert math.isnan(interval.low)


def test_intervals_hold_the_value_of_many_images() -> None:
    def draw(n: int, seed: int) -> tuple[Tensor, Tensor]:
        x = _random(n, 24, seed) * torch.exp(-torch.arange(24.0) / 6)
        return x, x.tanh() + 0.5 * _random(n, 24, seed + 1000)

    x, y = draw(2048, 5000)
    truth = cka(_layer(x), _layer(y)).estimate, uniformity(y.numpy()).estimate
    hits = np.zeros(2)
    for seed in range(40):
        x, y = draw(64, seed)
        intervals = cka(_layer(x, 32), _layer(y, 32)), uniformity(y.numpy())
        hits += [interval.low <= value <= interval.high for interval, value in zip(intervals, truth, strict=True)]
    assert (hits >= 35).all()
    assert not (hits == 0).any()


@pytest.mark.parametrize("directions", [1, 3, 8])
def test_equal_orthogonal_directions_are_counted(directions: int) -> None:
    basis, _ = torch.linalg.qr(_random(20, directions, 0))
    signs = torch.cat([torch.eye(directions, dtype=torch.float64), -torch.eye(directions, dtype=torch.float64)])
    assert effective_rank((signs @ basis.T + 7).numpy()) == pytest.approx(directions, abs=1e-6)


def test_effective_rank_is_exp_of_the_entropy_of_singular_values() -> None:
    x = np.diag([3.0, 1.0])
    x = np.concatenate([x, -x])  # singular values in the ratio 3 : 1
    assert effective_rank(x) == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))
    assert math.isnan(effective_rank(np.full((5, 3), 0.1)))


def test_the_rank_s_interval_is_that_of_leaving_out_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    x = _random(30, 40, 0).numpy()
    monkeypatch.setattr(measures, "GROUPS", 10)
    interval = effective_rank_interval(x)
    left_out = np.array([effective_rank(np.delete(x, np.arange(start, 30, 10), axis=0)) for start in range(10)])
    error = math.sqrt(9 * left_out.var())
    assert interval.estimate == pytest.approx(effective_rank(x))
    assert (interval.high - interval.estimate) == pytest.approx(1.959964 * error, rel=1e-5)


def test_uniformity_of_known_points() -> None:
    square = np.array([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [0.0, -3.0]])  # squared distances 2 (twice), 4 (once)
    assert uniformity(square).estimate == pytest.approx(math.log((2 * math.exp(-4) + math.exp(-8)) / 3))
    assert uniformity(np.ones((5, 3))).estimate == pytest.approx(0, abs=1e-12)
    assert math.isnan(uniformity(np.array([[1.0, 0.0], [0.0, 0.0]])).estimate)


def test_uniformity_in_blocks_and_without_each_image(monkeypatch: pytest.MonkeyPatch) -> None:
    x = _random(9, 4, 0).numpy()
    whole = uniformity(x)
    monkeypatch.setattr(measures, "AT_ONCE", 9 * 2)
    assert uniformity(x) == whole
    left_out = np.array([uniformity(np.delete(x, image, axis=0)).estimate for image in range(9)])
    assert whole.high - whole.estimate == pytest.approx(1.959964 * math.sqrt(8 * left_out.var()), rel=1e-5)
