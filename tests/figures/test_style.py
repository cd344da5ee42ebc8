"""Twenty looks that stay the same and can be told apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.markers import MarkerStyle

from stmbench.figures.style import COLOURS, FIRST_FREE, MARKERS, style_of
from tests.tables.frames import MIXERS

# Machado et al. (2009), severity 1.0, on linear RGB
DEFICIENCIES = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "none": np.eye(3).tolist(),
}


def linear(colour: str) -> np.ndarray:
    rgb = np.asarray(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = np.asarray([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb.clip(0, 1)
    f = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    return np.asarray([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_twenty_distinct_slots() -> None:
    assert len(set(COLOURS)) == len(COLOURS) == 20
    assert len(set(MARKERS)) == len(MARKERS) == 20
    assert all(MarkerStyle(marker).is_filled() for marker in MARKERS)


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_the_five_mixers_colours_differ_for_every_eye(deficiency: str) -> None:
    seen = [lab(np.asarray(DEFICIENCIES[deficiency]) @ linear(colour)) for colour in COLOURS[:5]]
    closest = min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))
    assert closest > 15


def test_colours_stand_out_from_white() -> None:
    for colour in COLOURS:
        luminance = float(np.asarray([0.2126, 0.7152, 0.0722]) @ linear(colour))
        assert 1.05 / (luminance + 0.05) > 2.5, colour


def test_a_mixer_keeps_its_look() -> None:
    for mixer, facts in MIXERS.items():
        slot = facts["palette_slot"]
        assert style_of(mixer, MIXERS) == (COLOURS[slot], MARKERS[slot])


def test_unknown_names_get_a_stable_look_of_their_own() -> None:
    first = style_of("my_mixer", MIXERS)
    assert first == style_of("my_mixer", {"my_mixer": {"palette_slot": None}})
    assert first.colour in COLOURS[FIRST_FREE:]
