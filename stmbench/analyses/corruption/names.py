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


def overall(corruptions: Sequence[str]) -> str | None:
    """The table's `condition` of a mean over all of these: None for the published fifteen.

    A family has its name, any other selection the names joined by '+', so that nobody takes its mean for the published.
    """
    if len(corruptions) == len(CORRUPTIONS):
        return None
    return next((name for name, names in FAMILIES.items() if names == tuple(corruptions)), "+".join(corruptions))


def means_over(corruptions: Sequence[str]) -> dict[str | None, tuple[str, ...]]:
    """The `condition` of a mean -> the corruptions it is over: each by itself, whole families, and all of these."""
    found: dict[str | None, tuple[str, ...]] = {name: (name,) for name in corruptions}
    found.update((name, names) for name, names in FAMILIES.items() if set(names) <= set(corruptions))
    found[overall(corruptions)] = tuple(corruptions)
    return found


def require_severity(severity: int) -> None:
    """Raise ConfigError for anything but 1 to 5."""
    if severity not in SEVERITIES:
        raise ConfigError("a severity from 1 to 5", repr(severity), "choose one of them")


def title(condition: str) -> str:
    """How a corruption, or a family, is called in figures and tables: 'JPEG compression'."""
    words = condition.replace("_", " ")
    return words.replace("jpeg", "JPEG") if words.startswith("jpeg") else words[:1].upper() + words[1:]
