"""What our networks take from timm: layers of blocks, and how its users choose stages.

timm is imported when a network is built, not when a class is defined: with torchvision it takes a second and 50 MiB,
which plans and reports, that only ask for names, do without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timm.layers.blur_pool import BlurPool2d
    from timm.layers.drop import DropPath


def drop_path(rate: float) -> DropPath:
    """Stochastic depth (Huang et al. 2016): the probability that training drops an image's branch."""
    from timm.layers.drop import DropPath

    return DropPath(rate)


def blur_pool(dim: int, stride: int) -> BlurPool2d:
    """(B, C, H, W) -> (B, C, H / stride, W / stride): the antialiased downsampling of Zhang, ICML 2019."""
    from timm.layers.blur_pool import BlurPool2d

    return BlurPool2d(dim, stride=stride)


def stages_taken(count: int, indices: int | list[int] | None) -> tuple[list[int], int]:
    """Which of `count` stages `indices` mean to timm (None: all; a number: the last ones), and the last of them."""
    from timm.models._features import feature_take_indices

    return feature_take_indices(count, indices)
