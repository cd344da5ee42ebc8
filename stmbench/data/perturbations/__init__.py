"""Translated, rotated and scaled images: all levels are made from one decoded image, in batches, on the device.

A new perturbation is one file with a subclass of `Perturbation`, exported here.

base          the interface of a perturbation
rotation      about the centre of the crop, before or after the crop
crops         translation and scaling: another crop of the image
authors_code  all three as in Hu et al.'s code, with PIL
"""

from stmbench.data.perturbations.authors_code import AuthorsRotation, AuthorsScaling, AuthorsTranslation
from stmbench.data.perturbations.base import Perturbation, Source
from stmbench.data.perturbations.crops import DIRECTIONS, Scaling, Translation
from stmbench.data.perturbations.rotation import Rotation

__all__ = [
    "DIRECTIONS",
    "AuthorsRotation",
    "AuthorsScaling",
    "AuthorsTranslation",
    "Perturbation",
    "Rotation",
    "Scaling",
    "Source",
    "Translation",
]
