"""Translated, rotated and scaled images: all levels are made from one decoded image, in batches, on the device.

A new perturbation is one file with a subclass of `Perturbation`, exported here.

base          the interface of a perturbation
translation   the crop moves within the resized image
rotation      about the centre of the crop, before or after the crop
scaling       the crop takes more or less of the image
authors_code  all three as in Hu et al.'s code, with PIL
"""

from stmbench.data.perturbations.authors_code import AuthorsRotation, AuthorsScaling, AuthorsTranslation
from stmbench.data.perturbations.base import Perturbation, Source
from stmbench.data.perturbations.rotation import Rotation
from stmbench.data.perturbations.scaling import Scaling
from stmbench.data.perturbations.translation import DIRECTIONS, Translation

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
