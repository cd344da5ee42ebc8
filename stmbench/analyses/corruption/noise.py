"""Gaussian, shot and impulse noise: every element of every channel by itself.

Images are (B, 3, H, W) float32 in [0, 1]. Results may leave [0, 1]: `transforms.corrupt` clips.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from stmbench.analyses.corruption.draws import Draws

DEVIATIONS: Final = ((0.08,), (0.12,), (0.18,), (0.26,), (0.38,))
PHOTONS: Final = ((60.0,), (25.0,), (12.0,), (5.0,), (3.0,))  # of a white element
AMOUNTS: Final = ((0.03,), (0.06,), (0.09,), (0.17,), (0.27,))


def gaussian_noise(images: Tensor, draws: Draws, deviation: float) -> Tensor:
    """x + N(0, deviation^2)."""
    return images + deviation * draws.normal(*images.shape[1:])


def shot_noise(images: Tensor, draws: Draws, photons: float) -> Tensor:
    """Poisson(x photons) / photons."""
    return draws.poisson(images * photons) / photons


def impulse_noise(images: Tensor, draws: Draws, amount: float) -> Tensor:
    """Salt and pepper: with probability `amount` an element becomes 0 or 1, which are as likely."""
    hit = draws.uniform(0, 1, *images.shape[1:]) < amount
    salt = draws.uniform(0, 1, *images.shape[1:]) < 0.5
    return torch.where(hit, salt.to(images.dtype), images)
