"""Colours and markers: twenty colours and twenty markers, so that a mixer looks the same in every figure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

# The first eight are Okabe and Ito's (2008), darkened where those are faint on white; the others follow Paul Tol's
# muted and dark schemes. Twenty colours cannot all be told apart with every eye: the markers differ too.
COLOURS: Final = (
    *("#0072B2", "#C24E00", "#009E73", "#C0609B", "#D89400", "#3FA0DC", "#5B5B5B", "#8A8500"),
    *("#332288", "#882255", "#44AA99", "#117733", "#CC6677", "#7A5230", "#AA4499", "#225555"),
    *("#A13B00", "#6A8FBF", "#555500", "#000000"),
)
Marker = str | tuple[int, int, float]
MARKERS: Final[tuple[Marker, ...]] = (
    *("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*", "d", "8", "H"),
    *((4, 1, 0.0), (6, 1, 0.0), (4, 1, 45.0), (3, 1, 0.0), (8, 1, 0.0)),
)
FIRST_FREE: Final = 8  # unknown names stay clear of the built-in mixers' slots


class Style(NamedTuple):
    """A colour and a marker of matplotlib."""

    colour: str
    marker: Marker


def style_of(name: str, mixers: Mapping[str, Mapping[str, Any]]) -> Style:
    """How `name` (a mixer, or a model without one) is drawn.

    Args:
        mixers: frame.attrs["mixers"]; the slot is `mixers[name]["palette_slot"]`. A name without a slot gets one from
            a hash of itself, the same in every run.
    """
    slot = mixers.get(name, {}).get("palette_slot")
    if slot is None:
        digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        slot = FIRST_FREE + digest % (len(COLOURS) - FIRST_FREE)
    return Style(COLOURS[int(slot) % len(COLOURS)], MARKERS[int(slot) % len(MARKERS)])
