"""The fifteen corruptions of ImageNet-C by family, and their severities; no torch, so that reports may import it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from stmbench.errors import ConfigError, UnknownNameError

FAMILIES: Final = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
CORRUPTIONS: Final = tuple(name for names in FAMILIES.values() for name in names)
SEVERITIES: Final = (1, 2, 3, 4, 5)
CLEAN: Final = "clean"  # the table's condition of the uncorrupted images, at level 0
SIDE: Final = 224  # pixels of the images that the published parameters are for


def chosen_corruptions(words: Sequence[str]) -> tuple[str, ...]:
    """Names and families, in any order -> names in the published order, each once; none given means all fifteen.

    Raises:
        UnknownNameError: neither a corruption nor a family.
    """
    wanted: set[str] = set()
    for word in words:
        if word not in FAMILIES and word not in CORRUPTIONS:
            raise UnknownNameError("corruption", word, (*CORRUPTIONS, *FAMILIES))
        wanted.update(FAMILIES.get(word, (word,)))
    return tuple(name for name in CORRUPTIONS if name in wanted) if words else CORRUPTIONS


def means_over(corruptions: Sequence[str]) -> dict[str | None, tuple[str, ...]]:
    """The table's `condition` of a mean -> the corruptions that it is over.

    None is the mean over all fifteen. A selection of several has its names joined by '+' instead, so that nobody takes
    its mean for the published one. A family has a mean of its own where all of it was chosen.
    """
    whole = {name: names for name, names in FAMILIES.items() if set(names) <= set(corruptions)}
    found: dict[str | None, tuple[str, ...]] = {**whole}
    if len(corruptions) == len(CORRUPTIONS):
        found[None] = CORRUPTIONS
    elif len(corruptions) > 1 and tuple(corruptions) not in whole.values():
        found["+".join(corruptions)] = tuple(corruptions)
    return found


def require_severity(severity: int) -> None:
    """Raise ConfigError for anything but 1 to 5."""
    if severity not in SEVERITIES:
        raise ConfigError("a severity from 1 to 5", repr(severity), "choose one of them")


def title(condition: str) -> str:
    """How a corruption, or a family, is called in figures and tables: 'JPEG compression'."""
    words = condition.replace("_", " ")
    return words.replace("jpeg", "JPEG") if words.startswith("jpeg") else words[:1].upper() + words[1:]
