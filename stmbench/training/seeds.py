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
    seed = int(state[0]) << 32 | int(state[1])
    # torch.manual_seed notes a stack for each kind of device that is not in use: 100 us, and each image is seeded
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)
