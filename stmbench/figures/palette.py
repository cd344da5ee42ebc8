"""Colours and markers: a mixer has one colour, marker and stroke in every figure and on every page of a store."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from matplotlib.colors import to_hex, to_rgb

Marker = str | tuple[int, int, float]
Stroke = Literal["-"] | tuple[float, tuple[float, ...]]


class Style(NamedTuple):
    """A colour, a marker and a line style of matplotlib."""

    colour: str
    marker: Marker
    stroke: Stroke


DOTS: Final[Stroke] = (0, (1, 1.4))
DASH_DOT: Final[Stroke] = (0, (5, 1.4, 1, 1.4))
DASH_DOTS: Final[Stroke] = (0, (5, 1.4, 1, 1.4, 1, 1.4))
STROKES: Final[tuple[Stroke, ...]] = (
    *("-", DOTS, DASH_DOT, DASH_DOTS, (0, (5, 1.4, 5, 1.4, 1, 1.4)), (0, (1, 3))),
    *(
        (0, (5, 1.4, 1, 1.4, 1, 1.4, 1, 1.4)),
        (0, (5, 1.4, 5, 1.4, 1, 1.4, 1, 1.4)),
        (0, (9, 1.4)),
        (0, (9, 1.4, 1, 1.4)),
    ),
)


def mixed(colour: str, other: str, share: float) -> str:
    """The colour with a share of another."""
    red, green, blue = ((1 - share) * one + share * two for one, two in zip(to_rgb(colour), to_rgb(other), strict=True))
    return to_hex((red, green, blue))


# With the black and the grey below, any two of these colours are 15 or more apart (CIEDE2000) to every eye, also where
# a kind of cone is missing. Two that are closer in grey, or on a dark ground (at least 14), differ in marker and
# stroke.
LOOKS: Final = (
    Style("#2563ff", "o", "-"),
    Style("#e58617", "s", "-"),
    Style("#3b0cb6", "^", STROKES[8]),
    Style("#bd4b00", "D", DOTS),
    Style("#005a43", "v", DASH_DOT),
    Style("#19a9dd", "P", DASH_DOT),
    Style("#721000", "<", STROKES[6]),
    Style("#688963", "p", DASH_DOTS),
    Style("#955e89", ">", STROKES[4]),
    Style("#4f0e47", "d", DASH_DOTS),
)
ON_DARK: Final = (
    *("#54a7ed", "#ffd8a8", "#456bf6", "#ea0920", "#82a375", "#05e8ff", "#f4901e", "#cdff16", "#dd009f", "#9c6773"),
    *("#ffffff", "#aeaeae"),  # of OWN and CONTROL
)
OWN: Final = Style("#070707", "*", "-")  # a user's mixer: nothing is stronger on white
CONTROL: Final = Style("#9c9c9c", "X", (0, (3.2, 2)))  # the identity mixer, in every figure
# Of families: equally light, with shades to black on white, and to white on a dark ground.
HUES: Final = (
    *("#0493db", "#de6933", "#049f75", "#e455ab", "#9e8c04", "#9877eb", "#f0565e", "#029aac"),
    *("#60991f", "#bf64de", "#5987eb", "#c17a30"),
)
SHADES: Final = (1.0, 0.84, 0.68, 0.505, 0.335, 0.175)
DEEPEST: Final = 0.15  # black in the darkest shade on a dark ground, which black words on a mark can still stand on
TINTS: Final = (0.0, 0.16, 0.34, 0.515, 0.685, 0.85)  # white in each of them: steps that look alike
MARKERS: Final[tuple[Marker, ...]] = (
    *("o", "s", "^", "D", "v", "P", "<", ">", "p", "h", "d", "8", (4, 1, 0.0), (6, 1, 0.0), (4, 1, 45.0)),
    *((3, 1, 0.0), (8, 1, 0.0), (5, 0, 36.0), (3, 1, 60.0), "H", (5, 1, 36.0), (7, 0, 0.0), (4, 0, 22.5)),
)
SHADED: Final = [[mixed(hue, "black", 1 - shade) for shade in SHADES] for hue in HUES]
# colour -> the same on a dark ground
DARK: Final = {
    **dict(zip((style.colour for style in (*LOOKS, OWN, CONTROL)), ON_DARK, strict=True)),
    **{
        colour: mixed(mixed(hue, "black", DEEPEST), "white", tint)
        for hue, shaded in zip(HUES, SHADED, strict=True)
        for tint, colour in zip(TINTS, reversed(shaded), strict=True)
    },
}
BLACK, WHITE, WHITE_ON_MARK = "#010101", "#fdfdfd", "#fefefe"
# of a network, stacked in this order: the mixer is what is compared, so it is the one part in a strong colour
PARTS: Final = {
    "mixers": "#d0492c",
    "mlps": "#1f3a63",
    "norms": "#8fb4e0",
    "transitions": "#4f7a6b",
    "stem": "#dccb8e",
    "head": "#2b2118",
    "other": "#f4f3f0",
}
# of a detector, in the same colours: a bar is of the one or of the other
DETECTOR_PARTS: Final = {
    "backbone": PARTS["mixers"],
    "pyramid": PARTS["transitions"],
    "proposals": PARTS["stem"],
    "boxes": PARTS["norms"],
    "masks": PARTS["mlps"],
    "heads": PARTS["head"],
    "transformer": "#d5a101",
    "other": PARTS["other"],
}
PARTS_ON_DARK: Final = {PARTS["mlps"]: "#7042d2", PARTS["transitions"]: "#446e7b", PARTS["head"]: "#9d9981"}
MOST: Final = len(LOOKS)  # mixers beyond which families share a hue
IDENTITY: Final = "identity"
FOREIGN: Final = "timm"  # the family of models without a mixer


def style_of(name: str, mixers: Mapping[str, Mapping[str, Any]]) -> Style:
    """How `name` (a mixer, or a model without one) is drawn in every figure, table and page of a store.

    Args:
        mixers: frame.attrs["mixers"], all that are in the store: `palette_slot` says who takes a look first, `family`
            who shares a hue where there are more than MOST. A user's own mixer has a family but no slot. A name that
            is not among them gets a look from a hash of itself, the same in every run.
    """
    if name == IDENTITY:
        return CONTROL
    facts = [(key, facts.get("palette_slot"), facts.get("family")) for key, facts in mixers.items()]
    digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return _styles(tuple(sorted(facts))).get(name, LOOKS[digest % MOST])


def strokes_of(styles: Sequence[Style]) -> list[Stroke]:
    """The stroke of each line; another one for each that shares its style with an earlier one: other weights, say."""
    found: list[Stroke] = []
    for place, style in enumerate(styles):
        others = [style.stroke, *(stroke for stroke in STROKES if stroke != style.stroke)]
        found.append(others[styles[:place].count(style) % len(others)])
    return found


def text_on(colour: str) -> str:
    """Black or white, whichever can be read on the colour: a contrast of 4.5 or more (WCAG 2.2).

    White on a colour of the palette is a colour of its own: a dark page lightens the palette, and needs black there.
    """
    if _luminance(colour) > 0.18:
        return BLACK
    return WHITE_ON_MARK if colour.lower() in DARK else WHITE


@functools.cache
def _styles(facts: tuple[tuple[str, int | None, str | None], ...]) -> Mapping[str, Style]:
    own = [name for name, slot, family in facts if slot is None and family not in (None, FOREIGN) and name != IDENTITY]
    others = sorted((slot is None, slot or 0, name, family or name) for name, slot, family in facts)
    rest = [(slot, name, family) for _, slot, name, family in others if name != IDENTITY and name not in own[:1]]
    found = dict.fromkeys(own[:1], OWN)
    if len(rest) > MOST:
        return found | _families({name: family for _, name, family in rest})
    free = list(LOOKS)
    for slot, name, _ in rest:
        look = LOOKS[slot % MOST] if LOOKS[slot % MOST] in free else free[0]
        free.remove(look)
        found[name] = look
    return found


def _families(members: Mapping[str, str]) -> dict[str, Style]:
    """A hue for each family, shades that are all used alike, markers and strokes by lightness.

    Markers and strokes begin again after as many as there are, whose numbers have no common divisor: no two names share
    both.
    """
    hues = {family: place % len(HUES) for place, family in enumerate(dict.fromkeys(members.values()))}
    by_hue = sorted(members, key=lambda name: hues[members[name]])
    colours = {name: SHADED[hues[members[name]]][place % len(SHADES)] for place, name in enumerate(by_hue)}
    by_lightness = sorted(colours, key=lambda name: _luminance(colours[name]))
    strokes = {name: STROKES[(place + 4) % len(STROKES)] for place, name in enumerate(by_lightness)}
    markers = {name: MARKERS[place % len(MARKERS)] for place, name in enumerate(by_lightness)}
    return {name: Style(colours[name], markers[name], strokes[name]) for name in members}


def _luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour))
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))
