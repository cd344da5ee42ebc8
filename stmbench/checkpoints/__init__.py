"""Weights from files: our own, timm's, and those that authors published under their own names.

loading           `load_checkpoint`: a file's weights into a model
reading           a file's tensors, read safely
selection         which of a file's weights are meant; plain names of tensors
families          one file per family of published weights; `family_of`; tables of positions resized
trained           weights in a store of trainings, by the name of their model
backbones         weights of a classification model for the trunk of a detector
inspection        what a file holds; copies as safetensors
"""

from __future__ import annotations

from stmbench.checkpoints.families import family_of
from stmbench.checkpoints.loading import LoadedWeights, load_checkpoint
from stmbench.checkpoints.selection import Checkpoint

__all__ = ["Checkpoint", "LoadedWeights", "family_of", "load_checkpoint"]
