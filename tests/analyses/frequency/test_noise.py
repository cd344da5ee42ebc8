"""Basis vectors and bands of noise against their definitions, and predictions under them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from stmbench.analyses.frequency.noise import (
    FrequencyGrid,
    Responses,
    band_edges,
    band_masks,
    band_noise,
    basis_noise,
    fourier_basis,
    mean_over_grid,
    random_signs,
    respond,
    ring_noise,
    white_noise,
)
from stmbench.errors import UnitError
from tests.analyses.frequency.networks import Listening, subject_of


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (6, 11)])
def test_basis_vectors_are_real_of_norm_one_with_two_coefficients(size: tuple[int, int]) -> None:
    height, width = size
    vectors = np.array([(i, j) for i in range(-(height // 2), height // 2 + 1) for j in range(-(width // 2), 4)])
    for (i, j), wave in zip(vectors, fourier_basis(vectors, height, width).double().numpy(), strict=True):
        assert wave.shape == size
        assert math.isclose(np.linalg.norm(wave), 1, rel_tol=1e-6)
        spectrum = np.fft.fft2(wave)
        places = {(i % height, j % width), (-i % height, -j % width)}
        # Parseval: the squares of the coefficients sum to H W, shared equally by the two places
        expected = np.zeros(size)
        for place in places:
            expected[place] = math.sqrt(height * width / len(places))
        np.testing.assert_allclose(np.abs(spectrum), expected, atol=1e-5)
        np.testing.assert_allclose(spectrum.imag, 0, atol=1e-5)


def test_a_basis_vector_is_the_inverse_transform_of_its_coefficients() -> None:
    spectrum = np.zeros((8, 6), dtype=complex)
    spectrum[3, 2] = spectrum[-3, -2] = 1
    wave = np.fft.ifft2(spectrum).real
    found = fourier_basis(np.array([(3, 2)]), 8, 6)[0].numpy()
    np.testing.assert_allclose(found, wave / np.linalg.norm(wave), atol=1e-6)


def test_a_grid_measures_half_of_the_plane_and_mirrors_it() -> None:
    grid = FrequencyGrid.of(32, 32, 5)
    assert grid.rows.tolist() == grid.columns.tolist() == [-16, -8, 0, 8, 16]
    np.testing.assert_array_equal(grid.index, grid.index[::-1, ::-1])
    waves = fourier_basis(grid.vectors, 32, 32)
    products = waves.flatten(1) @ waves.flatten(1).T
    torch.testing.assert_close(products, torch.eye(len(waves)), atol=1e-5, rtol=0)  # none stands twice
    for row, i in enumerate(grid.rows):
        for column, j in enumerate(grid.columns):
            wanted = fourier_basis(np.array([(i, j)]), 32, 32)[0]
            torch.testing.assert_close(waves[grid.index[row, column]], wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("grid", "highest", "rows", "vectors"),
    [
        (9, 4, list(range(-4, 5)), 41),  # (81 + 1) / 2
        (63, 31, list(range(-31, 32)), 1985),  # Yin et al.'s map of ImageNet: (63^2 + 1) / 2
        (63, 300, None, None),
        (5, 1, [-1, 0, 1], 5),
    ],
)
def test_the_grid_is_spread_up_to_the_highest_frequency(
    grid: int, highest: int, rows: list[int] | None, vectors: int | None
) -> None:
    found = FrequencyGrid.of(224, 224, grid, highest)
    if rows is None:
        assert (found.rows[0], found.rows[-1], len(found.rows)) == (-112, 112, 63)
        return
    assert found.rows.tolist() == rows
    assert len(found.vectors) == vectors


def test_signs_depend_on_the_image_alone() -> None:
    signs = random_signs(0, range(200), 5)
    assert signs.shape == (200, 5, 3)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(signs.mean())) < 0.06  # 3,000 fair coins: 3.3 standard deviations
    assert float((signs[:, :, 0] * signs[:, :, 1]).mean()) < 0.1  # channels are independent
    torch.testing.assert_close(random_signs(0, [7, 3], 5), signs[[7, 3]])
    assert not torch.equal(random_signs(1, range(200), 5), signs)


def test_noise_of_a_band_has_its_norm_and_no_other_frequency() -> None:
    height, width, bands, norm = 24, 32, 4, 1.5
    masks = band_masks(height, width, bands)
    noise = band_noise(white_noise(0, [4, 5], height, width), masks, norm)
    assert noise.shape == (bands, 2, 3, height, width)
    torch.testing.assert_close(noise.flatten(-2).norm(dim=-1), torch.full((bands, 2, 3), norm))
    y, x = np.meshgrid(2 * np.fft.fftfreq(height), 2 * np.fft.fftfreq(width), indexing="ij")
    radius = np.hypot(y, x)
    for number, (low, high) in enumerate(band_edges(bands)):
        power = np.abs(np.fft.fft2(noise[number].double().numpy())) ** 2
        inside = (radius > low) & (radius <= high)
        assert power[..., ~inside].sum() < 1e-8 * power.sum()
        assert (power[..., inside] > 0).mean() > 0.99
    again = band_noise(white_noise(0, [5], height, width), masks, norm)
    torch.testing.assert_close(again[:, 0], noise[:, 1])


def test_bands_cover_every_circle_once_and_leave_the_mean_alone() -> None:
    masks = band_masks(16, 16, 8)
    radius = np.hypot(2 * np.fft.fftfreq(16)[:, None], 2 * np.fft.rfftfreq(16)[None, :])
    np.testing.assert_array_equal(masks.sum(0).numpy(), (radius > 0) & (radius <= 1))
    with pytest.raises(UnitError, match="fewer --bands"):
        band_masks(8, 8, 30)


SIZE, NORM = (16, 16), 2.0
FLAT = torch.full((3, 3, *SIZE), 0.5)  # three images without any frequency but 0


def _bin(i: int, j: int) -> Tensor:
    mask = torch.zeros(16, 9, dtype=torch.bool)
    mask[i, j] = True
    return mask


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_a_heat_map_shows_the_frequency_that_a_model_listens_to(at_once: int) -> None:
    grid = FrequencyGrid.of(*SIZE, 9)
    loaded = subject_of(Listening(_bin(4, 6), threshold=0.9 * NORM / 2**0.5), SIZE)
    noise = basis_noise(grid, SIZE, random_signs(0, range(3), len(grid.vectors)), NORM, at_once)
    predicted = respond(loaded, FLAT, noise)
    assert predicted.shape == (len(grid.vectors), 3)
    heat = predicted.float().mean(1).numpy()[grid.index]
    expected = np.zeros((9, 9))
    expected[grid.rows.tolist().index(4), grid.columns.tolist().index(6)] = 1
    expected[grid.rows.tolist().index(-4), grid.columns.tolist().index(-6)] = 1
    np.testing.assert_array_equal(heat, expected)


def test_the_norm_of_the_noise_is_what_was_asked_for() -> None:
    grid = FrequencyGrid.of(*SIZE, 9)
    signs = random_signs(0, range(3), len(grid.vectors))
    noise = torch.cat(list(basis_noise(grid, SIZE, signs, NORM, 4)))
    torch.testing.assert_close(noise.flatten(-2).norm(dim=-1), torch.full((len(grid.vectors), 3, 3), NORM))
    deaf = subject_of(Listening(_bin(4, 6), threshold=1.1 * NORM / 2**0.5), SIZE)
    assert not respond(deaf, FLAT, [noise]).any()


def test_bands_show_the_band_that_a_model_listens_to() -> None:
    masks = band_masks(*SIZE, 4)
    loaded = subject_of(Listening(masks[2], threshold=0.05), SIZE)
    predicted = respond(loaded, FLAT, ring_noise(white_noise(0, range(3), *SIZE), 4, NORM, 3))
    assert predicted.tolist() == [[0] * 3, [0] * 3, [1] * 3, [0] * 3]
    assert band_edges(4)[2] == (0.5, 0.75)


def test_answers_are_counted_against_labels_and_clean_answers() -> None:
    parts = [
        {"indices": torch.tensor([5]), "labels": torch.tensor([1]), "clean": torch.tensor([1]),
         "predicted": torch.tensor([[1], [0]])},
        {"indices": torch.tensor([8]), "labels": torch.tensor([0]), "clean": torch.tensor([2]),
         "predicted": torch.tensor([[2], [0]])},
    ]  # fmt: skip
    found = Responses.joined(parts)
    assert found.indices.tolist() == [5, 8]
    assert found.wrong.tolist() == [[False, True], [True, False]]
    assert found.changed.tolist() == [[False, False], [True, True]]
    assert found.is_labelled


def test_the_mean_counts_every_place_of_the_map() -> None:
    grid = FrequencyGrid.of(*SIZE, 3, 1)  # one vector for frequency 0, four for the other eight places
    answers = np.zeros((5, 2), dtype=bool)
    answers[grid.index[1, 1], 0] = True
    answers[grid.index[0, 0], 1] = True
    np.testing.assert_allclose(mean_over_grid(answers, grid), [1 / 9, 2 / 9])
