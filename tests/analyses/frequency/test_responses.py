"""Noise of one frequency or band changes the answers of models that listen to it, and of no others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from stmbench.analyses.frequency.noise import FrequencyGrid, band_edges, band_masks, random_signs, white_noise
from stmbench.analyses.frequency.responses import Responses, basis_noise, mean_over_grid, respond, ring_noise
from tests.analyses.frequency.networks import Listening, subject_of

SIZE, NORM = (16, 16), 2.0
FLAT = torch.full((3, 3, *SIZE), 0.5)  # three images without any frequency but 0


def _bin(i: int, j: int) -> Tensor:
    mask = torch.zeros(16, 9, dtype=torch.bool)
    mask[i, j] = True
    return mask


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_a_heat_map_shows_the_frequency_that_a_model_listens_to(at_once: int) -> None:
    grid = FrequencyGrid.of(*SIZE, 9)
    subject = subject_of(Listening(_bin(4, 6), threshold=0.9 * NORM / 2**0.5), SIZE)
    noise = basis_noise(grid, SIZE, random_signs(0, range(3), len(grid.vectors)), NORM, at_once)
    predicted = respond(subject, FLAT, noise)
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
    subject = subject_of(Listening(masks[2], threshold=0.05), SIZE)
    predicted = respond(subject, FLAT, ring_noise(white_noise(0, range(3), *SIZE), 4, NORM, 3))
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
