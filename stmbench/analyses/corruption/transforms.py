"""`corrupt`: a batch of images with one corruption at one severity, stored in 8 bits as the published set is.

The definition is Hendrycks and Dietterich's (2019), with the parameters of their code for ImageNet; see
docs/definitions/corruption.md for what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from torch import Tensor

from stmbench.analyses.corruption import blur, digital, noise, weather
from stmbench.analyses.corruption.noise import Draws
from stmbench.analyses.corruption.options import CORRUPTIONS, require_severity
from stmbench.analyses.corruption.resampling import truncated
from stmbench.errors import InputError, UnknownNameError

PUBLISHED_QUALITY: Final = 85  # of the JPEG files that the published set consists of

Transform = Callable[..., Tensor]  # (images, draws, *parameters)
Parameters = Sequence[tuple[float, ...]]  # of severities 1 to 5

TRANSFORMS: Final[Mapping[str, tuple[Transform, Parameters]]] = {
    "gaussian_noise": (noise.gaussian_noise, noise.DEVIATIONS),
    "shot_noise": (noise.shot_noise, noise.PHOTONS),
    "impulse_noise": (noise.impulse_noise, noise.AMOUNTS),
    "defocus_blur": (blur.defocus_blur, blur.DISKS),
    "glass_blur": (blur.glass_blur, blur.PANES),
    "motion_blur": (blur.motion_blur, blur.MOTIONS),
    "zoom_blur": (blur.zoom_blur, blur.ZOOMS),
    "snow": (weather.snow, weather.SNOWFALLS),
    "frost": (weather.frost, weather.FROSTS),
    "fog": (weather.fog, weather.FOGS),
    "brightness": (weather.brightness, weather.SHIFTS),
    "contrast": (digital.contrast, digital.CONTRASTS),
    "elastic_transform": (digital.elastic_transform, digital.ELASTICS),
    "pixelate": (digital.pixelate, digital.SHARES),
    "jpeg_compression": (digital.jpeg_compression, digital.QUALITIES),
}


def corrupt(
    images: Tensor, corruption: str, severity: int, indices: Sequence[int], *, seed: int = 0, as_jpeg: bool = False
) -> Tensor:
    """Corrupt a batch.

    Args:
        images: (B, 3, H, W) float32 in [0, 1], on any device.
        severity: 1 to 5.
        indices: (B,) the images' places in their set; with `seed` they decide what is drawn, whatever the batch.
        as_jpeg: whether the result is also compressed with quality 85, as the published files are.

    Returns:
        (B, 3, H, W) float32, multiples of 1/255 in [0, 1].

    Raises:
        UnknownNameError, ConfigError: the corruption, the severity. InputError: the shape.
    """
    if corruption not in TRANSFORMS:
        raise UnknownNameError("corruption", corruption, CORRUPTIONS)
    require_severity(severity)
    if images.dim() != 4 or images.shape[1] != 3 or len(images) != len(indices):
        raise InputError(
            "(B, 3, H, W) images and B indices", f"{tuple(images.shape)} and {len(indices)}", "correct them"
        )
    transform, parameters = TRANSFORMS[corruption]
    draws = Draws(corruption, severity, indices, seed=seed, device=images.device)
    corrupted = truncated(transform(images, draws, *parameters[severity - 1]))
    return digital.jpeg_compression(corrupted, None, PUBLISHED_QUALITY) if as_jpeg else corrupted
