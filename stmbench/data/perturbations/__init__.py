"""Images moved, turned and scaled: every level from one decoded image, in batches, on the device.

base          what a perturbation offers
translation   the crop moves inside the resized image
rotation      about the crop's centre, before or after the crop
scaling       the crop takes more or less of the image
authors_code  the three as Hu et al.'s code makes them, with PIL
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
