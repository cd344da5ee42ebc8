"""Seeds as functions of the place in a run, so that a run that was stopped anywhere goes on as if it had not been."""

from __future__ import annotations

import random

import numpy as np
import torch

_ORDER = 3  # sets the order apart from images (1) and steps (2)


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


def order_seed(seed: int) -> int:
    """The seed of the images' order. torch adds the epoch to it, so those of two runs must not be neighbours."""
    return int(np.random.SeedSequence((seed, _ORDER)).generate_state(1)[0]) % 2**31
