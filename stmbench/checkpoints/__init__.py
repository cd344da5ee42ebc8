"""Weights from files: our own, timm's, and the papers' authors' published ones under the authors' names."""

from __future__ import annotations

from stmbench.checkpoints.families import family_of
from stmbench.checkpoints.loading import LoadedWeights, load_checkpoint
from stmbench.checkpoints.selection import Checkpoint

__all__ = ["Checkpoint", "LoadedWeights", "family_of", "load_checkpoint"]
