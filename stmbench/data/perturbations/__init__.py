"""Images moved, turned and scaled: every level from one decoded image, in batches, on the device.

base          what a perturbation offers
translation   the crop moves inside the resized image
rotation      about the crop's centre, before or after the crop
scaling       the crop takes more or less of the image
"""

from stmbench.data.perturbations.base import Perturbation, Source
from stmbench.data.perturbations.rotation import Rotation
from stmbench.data.perturbations.scaling import Scaling
from stmbench.data.perturbations.translation import DIRECTIONS, Translation

__all__ = ["DIRECTIONS", "Perturbation", "Rotation", "Scaling", "Source", "Translation"]
