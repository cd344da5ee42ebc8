"""The nano network for mixers whose heads are 32 channels wide elsewhere: heads of 16, as its first stage has."""

from __future__ import annotations

from stmbench.mixers.base import Preset


def narrow_heads() -> dict[str, Preset]:
    """A preset for nano alone; at other scales the mixer is put into the default network."""
    return {"nano": Preset(dims=(16, 32, 64, 128), depths=(2, 2, 2, 2), norm_eps=1e-5, options={"head_dim": 16})}
