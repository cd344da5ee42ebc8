"""Mixers are told apart by every eye and in grey, on white and on a dark page, and keep their look."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import matplotlib
import numpy as np
import pytest
from matplotlib.markers import MarkerStyle

from stmbench.figures.palette import (
    BLACK,
    CONTROL,
    DARK,
    LOOKS,
    MARKERS,
    OWN,
    PARTS,
    PARTS_ON_DARK,
    SHADED,
    STROKES,
    WHITE_ON_MARK,
    Style,
    strokes_of,
    style_of,
    text_on,
)
from stmbench.mixers.base import MIXERS as REGISTRY
from tests.figures.colour_vision import EYES, ciede2000, contrast, distance
from tests.tables.frames import MIXERS

APART, APART_ON_DARK = 15, 14  # CIEDE2000
CONES = [eye for eye in EYES if eye != "grey"]
DARK_GROUND = "#1c1d20"  # of figures, in the page's style sheet
# L*, a*, b* of two colours and their difference: Sharma, Wu and Dalal (2005), Table 1
SHARMA = [
    ((50.0000, 2.6772, -79.7751), (50.0000, 0.0000, -82.7485), 2.0425),
    ((50.0000, -1.3802, -84.2814), (50.0000, 0.0000, -82.7485), 1.0000),
    ((50.0000, 0.0000, 0.0000), (50.0000, -1.0000, 2.0000), 2.3669),
    ((50.0000, 2.4900, -0.0010), (50.0000, -2.4900, 0.0009), 7.1792),
    ((50.0000, 2.4900, -0.0010), (50.0000, -2.4900, 0.0011), 7.2195),
    ((50.0000, -0.0010, 2.4900), (50.0000, 0.0011, -2.4900), 4.7461),
    ((50.0000, 2.5000, 0.0000), (50.0000, 0.0000, -2.5000), 4.3065),
    ((50.0000, 2.5000, 0.0000), (73.0000, 25.0000, -18.0000), 27.1492),
    ((50.0000, 2.5000, 0.0000), (58.0000, 24.0000, 15.0000), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((36.4612, 47.8580, 18.3852), (36.2715, 50.5065, 21.2231), 1.4146),
    ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


def registered() -> dict[str, dict[str, object]]:
    return {
        entry.name: {"palette_slot": entry.palette_slot, "family": entry.family}
        for entry in map(REGISTRY.get, REGISTRY.names())
        if entry.plugin_sha256 is None
    }


def confused(styles: Iterable[Style], *, dark: bool = False) -> list[tuple[str, str, str]]:
    """Pairs that an eye can confuse: closer than APART in colour, and alike in marker or stroke."""
    found = []
    for one, other in itertools.combinations(list(styles), 2):
        if one.marker != other.marker and one.stroke != other.stroke:
            continue
        pair = (DARK[one.colour], DARK[other.colour]) if dark else (one.colour, other.colour)
        least = APART_ON_DARK if dark else APART
        found += [(*pair, eye) for eye in (CONES if dark else EYES) if distance(*pair, eye) < least]
    return found


@pytest.mark.parametrize(("one", "other", "expected"), SHARMA)
def test_ciede2000_is_that_of_the_paper(one: tuple[float, ...], other: tuple[float, ...], expected: float) -> None:
    assert ciede2000(np.array(one), np.array(other)) == pytest.approx(expected, abs=1e-4)
    assert ciede2000(np.array(other), np.array(one)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("eye", CONES)
@pytest.mark.parametrize("dark", [False, True])
def test_ten_mixers_the_users_and_the_control_differ_in_colour(eye: str, dark: bool) -> None:
    colours = [style.colour for style in (*LOOKS, OWN, CONTROL)]
    shown = [DARK[colour] for colour in colours] if dark else colours
    close = [
        pair for pair in itertools.combinations(shown, 2) if distance(*pair, eye) < (APART_ON_DARK if dark else APART)
    ]
    assert not close


@pytest.mark.parametrize("dark", [False, True])
def test_parts_of_a_network_differ_in_colour_and_neighbours_in_grey(dark: bool) -> None:
    shown = [PARTS_ON_DARK.get(colour, colour) if dark else colour for colour in PARTS.values()]
    assert not [
        (*pair, eye) for pair in itertools.combinations(shown, 2) for eye in CONES if distance(*pair, eye) < APART
    ]
    if dark:
        assert all(contrast(colour, DARK_GROUND) > 2.5 for colour in shown)
    else:
        assert not [pair for pair in itertools.pairwise(shown) if distance(*pair, "grey") < APART]


@pytest.mark.parametrize("dark", [False, True])
def test_what_is_close_in_grey_or_on_a_dark_page_differs_in_marker_and_stroke(dark: bool) -> None:
    assert not confused((*LOOKS, OWN, CONTROL), dark=dark)
    assert len({style.marker for style in (*LOOKS, OWN, CONTROL)}) == len(LOOKS) + 2


def test_all_bundled_mixers_can_meet_in_one_figure() -> None:
    mixers = {**registered(), "my_mixer": {"palette_slot": None, "family": ""}}
    styles = [style_of(name, mixers) for name in mixers]
    assert len(styles) > 40
    assert len({(style.marker, style.stroke) for style in styles}) == len(styles)
    assert math.gcd(len(MARKERS), len(STROKES)) == 1
    papers = {name: facts for name, facts in mixers.items() if facts["palette_slot"] in range(len(MARKERS) - 1)}
    assert not confused([style_of(name, papers) for name in papers])


@pytest.mark.parametrize("seed", range(4))
def test_any_study_of_more_than_ten_can_be_read(seed: int) -> None:
    random, everyone = np.random.default_rng(seed), registered()
    chosen = random.choice(list(everyone), size=12 + 2 * seed, replace=False)
    mixers = {str(name): everyone[str(name)] for name in chosen}
    styles = [style_of(name, mixers) for name in mixers]
    assert not confused(styles)
    assert not confused(styles, dark=True)


@pytest.mark.parametrize("dark", [False, True])
def test_shades_of_a_family_can_be_told_apart(dark: bool) -> None:
    for shaded in SHADED:
        shown = [DARK[colour] for colour in shaded] if dark else shaded
        assert min(distance(*pair, "all cones") for pair in itertools.combinations(shown, 2)) > 7


def test_families_share_a_hue_in_studies_of_more_than_ten() -> None:
    mixers = registered()
    hues: dict[object, list[float]] = {}
    for name, facts in mixers.items():
        if name != "identity":
            hue, _, _ = matplotlib.colors.rgb_to_hsv(matplotlib.colors.to_rgb(style_of(name, mixers).colour))
            hues.setdefault(facts["family"], []).append(float(hue))
    assert all(max(found) - min(found) < 0.02 for found in hues.values()), hues
    middles = sorted(np.mean(found) for found in hues.values())
    assert min(np.diff(middles)) > 0.02


def test_bundled_mixers_have_slots_of_their_own() -> None:
    slots = {name: facts["palette_slot"] for name, facts in registered().items() if name != "identity"}
    assert sorted(slots.values(), key=str) == sorted(range(len(slots)), key=str)


def test_markers_can_be_hollow() -> None:
    assert all(MarkerStyle(marker).is_filled() for marker in MARKERS)
    assert len(set(MARKERS)) == len(MARKERS)


def test_colours_stand_out_from_their_ground() -> None:
    for colour, dark in DARK.items():
        assert contrast(colour, "white") > 2.7, colour
        assert contrast(dark, DARK_GROUND) > 3, dark


def test_text_can_be_read_on_every_mark() -> None:
    for colour in DARK:
        assert contrast(text_on(colour), colour) >= 4.5, colour
        assert text_on(colour) in (BLACK, WHITE_ON_MARK)
        assert contrast(BLACK, DARK[colour]) >= 4.5, DARK[colour]
    for grey in range(256):  # the middle is the worst
        assert contrast(text_on(f"#{grey:02x}{grey:02x}{grey:02x}"), f"#{grey:02x}{grey:02x}{grey:02x}") >= 4.5


def test_the_control_is_grey_and_dashed_and_nobody_else_is() -> None:
    assert style_of("identity", registered()) == style_of("identity", {}) == CONTROL
    assert len(set(matplotlib.colors.to_rgb(CONTROL.colour))) == 1
    assert CONTROL.stroke not in [style.stroke for style in (*LOOKS, OWN)]
    assert CONTROL.stroke not in STROKES


def test_a_mixer_keeps_its_look() -> None:
    for mixer, facts in MIXERS.items():
        assert style_of(mixer, MIXERS) == LOOKS[facts["palette_slot"]]
    few = {name: registered()[name] for name in ("dw_conv", "halo_attn")}
    assert style_of("dw_conv", few) == LOOKS[3]


def test_ten_mixers_with_equal_slots_still_differ() -> None:
    mixers = {f"m{number}": {"palette_slot": 10 * number, "family": "A"} for number in range(10)}
    assert {style_of(name, mixers) for name in mixers} == set(LOOKS)


def test_the_users_own_mixer_gets_the_strongest_look() -> None:
    mixers = {**MIXERS, "my_mixer": {"palette_slot": None, "family": ""}}
    assert style_of("my_mixer", mixers) == OWN
    second = style_of("your_mixer", {**mixers, "your_mixer": {"palette_slot": None, "family": ""}})
    assert second in LOOKS[5:]
    assert style_of("timm:resnet18", {**mixers, "timm:resnet18": {"palette_slot": None, "family": "timm"}}) != OWN


def test_unknown_names_get_a_stable_look() -> None:
    assert style_of("my_mixer", MIXERS) == style_of("my_mixer", {}) in LOOKS


def test_lines_of_one_style_get_other_strokes() -> None:
    first, second, third = strokes_of([LOOKS[3], LOOKS[0], LOOKS[3]])
    assert (first, second) == (LOOKS[3].stroke, LOOKS[0].stroke)
    assert third not in (first, CONTROL.stroke)
