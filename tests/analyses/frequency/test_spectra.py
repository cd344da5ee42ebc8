"""Log amplitudes of maps against plain NumPy and known filters."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from stmbench.analyses.frequency.spectra import Spectrum, diagonal, frequencies, log_amplitudes, radial

BOX = [[1 / 9] * 3] * 3
LAPLACIAN = [[0.0, -1.0, 0.0], [-1.0, 5.0, -1.0], [0.0, -1.0, 0.0]]  # identity minus the 5-point Laplacian


def _random_maps(count: int = 2, channels: int = 3, height: int = 8, width: int = 8) -> Tensor:
    """With a mean far from 0, so that no amplitude is near the epsilon of the logarithm."""
    return 2 + torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(0))


def _filtered(maps: Tensor, kernel: list[list[float]]) -> Tensor:
    """Each channel convolved around the edges, so that the convolution theorem holds exactly."""
    channels = maps.shape[1]
    weight = torch.tensor(kernel).expand(channels, 1, 3, 3)
    return conv2d(pad(maps, (1, 1, 1, 1), mode="circular"), weight, groups=channels)


def _reference(maps: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(B, K) diagonal and radial log amplitudes by an explicit double loop over bins, from the full complex DFT."""
    values = maps.double().numpy()
    count, channels, height, width = values.shape
    shorter = min(height, width)
    lines = np.zeros((2, count, shorter // 2 + 1))
    for b in range(count):
        logs = np.mean([np.log(np.abs(np.fft.fft2(values[b, c])) + 1e-6) for c in range(channels)], axis=0)
        rings: dict[int, list[float]] = {}
        for i in range(height):
            for j in range(width):
                y, x = (i if i <= height / 2 else i - height), (j if j <= width / 2 else j - width)
                radius = math.hypot(y / height * shorter, x / width * shorter)
                rings.setdefault(round(radius), []).append(logs[i, j])
        for k in range(shorter // 2 + 1):
            lines[0, b, k] = logs[k * height // shorter, k * width // shorter]
            lines[1, b, k] = np.mean(rings[k])
    return lines[0], lines[1]


@pytest.mark.parametrize("size", [(8, 8), (7, 7), (6, 10), (9, 5), (2, 2), (1, 1)])
def test_curves_are_those_of_an_explicit_transform(size: tuple[int, int]) -> None:
    maps = _random_maps(height=size[0], width=size[1])
    amplitudes = log_amplitudes(maps)
    along, around = _reference(maps)
    np.testing.assert_allclose(diagonal(amplitudes, *size).numpy(), along, atol=1e-4)
    np.testing.assert_allclose(radial(amplitudes, *size).numpy(), around, atol=1e-4)
    assert along.shape[1] == len(frequencies(*size))


def test_frequencies_end_at_pi_only_where_the_side_is_even() -> None:
    assert frequencies(8, 8).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert frequencies(7, 14)[-1] == pytest.approx(6 / 7)
    assert frequencies(14, 6)[-1] == 1


@pytest.mark.parametrize(
    ("kernel", "gain"),
    [
        # response at (w, w) over that at 0: ((1 + 2 cos w) / 3)^2, and 5 - 4 cos w
        (BOX, lambda w: ((1 + 2 * np.cos(w)) / 3) ** 2),
        (LAPLACIAN, lambda w: 5 - 4 * np.cos(w)),
    ],
)
def test_a_filter_changes_the_curve_by_its_frequency_response(kernel: list[list[float]], gain: object) -> None:
    maps = _random_maps().double().float()
    before, after = Spectrum.of(maps), Spectrum.of(_filtered(maps, kernel))
    expected = np.log(gain(np.pi * before.frequencies))  # type: ignore[operator]
    changed = after.curves()["diagonal"] - before.curves()["diagonal"]
    np.testing.assert_allclose(changed, expected, atol=1e-3)
    np.testing.assert_allclose(after.relative - before.relative, expected[-1], atol=1e-3)


def test_known_gains_at_pi() -> None:
    maps = _random_maps()
    blur = Spectrum.of(_filtered(maps, BOX)).relative - Spectrum.of(maps).relative
    sharp = Spectrum.of(_filtered(maps, LAPLACIAN)).relative - Spectrum.of(maps).relative
    np.testing.assert_allclose(blur, -2 * math.log(3), atol=1e-3)
    np.testing.assert_allclose(sharp, 2 * math.log(3), atol=1e-3)


def test_a_gain_or_an_identity_changes_nothing_relative() -> None:
    maps = _random_maps()
    np.testing.assert_array_equal(Spectrum.of(maps).relative, Spectrum.of(maps.clone()).relative)
    np.testing.assert_allclose(Spectrum.of(7 * maps).relative, Spectrum.of(maps).relative, atol=1e-5)


def test_a_channel_of_zeros_counts_as_flat() -> None:
    maps = _random_maps(channels=2)
    maps[:, 1] = 0
    alone = Spectrum.of(maps[:, :1]).relative
    np.testing.assert_allclose(Spectrum.of(maps).relative, alone / 2, atol=1e-5)


def test_batches_are_joined_in_order() -> None:
    maps = _random_maps(count=5)
    whole = Spectrum.of(maps)
    parts = Spectrum.joined([Spectrum.of(maps[:2]), Spectrum.of(maps[2:])])
    np.testing.assert_allclose(parts.diagonal, whole.diagonal, atol=1e-6)
    np.testing.assert_allclose(parts.radial, whole.radial, atol=1e-6)
    assert (parts.size, parts.is_constant, Spectrum.of(maps[..., :1, :]).is_constant) == ((8, 8), False, True)
