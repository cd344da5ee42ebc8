"""Weights from files: our own, timm's, and the papers' authors' published ones under the authors' names."""

from __future__ import annotations

from stmbench.checkpoints.loading import LoadedWeights, load_checkpoint

__all__ = ["LoadedWeights", "load_checkpoint"]
