"""Seeds as functions of the place in a run, so that a run that was stopped anywhere goes on as if it had not been."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_at(*place: int) -> None:
    """Seed Python, NumPy and torch with a mixture of the numbers: (seed, epoch, image), (seed, epoch, step, rank)."""
    state = np.random.SeedSequence(place).generate_state(2)
    random.seed(int(state[0]))
    np.random.seed(int(state[0]))
    torch.manual_seed(int(state[0]) << 32 | int(state[1]))
