"""Which frequencies mixers keep, and which noise changes what a model says: the section of a report."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from stmbench.analyses.frequency.figures import drawn_or_not
from stmbench.analyses.frequency.options import (
    ACCURACY,
    ALL_MIXERS,
    AMPLITUDE,
    BAND,
    BLOCK,
    CHANGE,
    CHANGED,
    CLEAN,
    CONSISTENCY,
    ERROR,
    MIXER,
    MIXER_INPUT,
    MIXER_OUTPUT,
    NAME,
)
from stmbench.analyses.registry import View
from stmbench.figures.places import by_place, points_of
from stmbench.figures.plot_data import Point
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Caveat, Column, Definition, Formula, Plot, Section, Table
from stmbench.reporting.model_table import Measured, by_model, conditions
from stmbench.tables.rows import number

MOST: Final = 8  # bands in a table; all are in the figure and in the store
CAPTIONS: Final = {
    "frequency_depth": (
        "Frequencies by depth",
        "Log amplitude of the feature maps at their highest frequency relative to frequency 0, after each block, and "
        "its change from each mixer's input to its output; bands are 95 % intervals over images.",
        "A mixer below 0 is low-pass: it weakens high frequencies more than the mean of the map.",
    ),
    "frequency_heat_maps": (
        "Fourier heat map",
        "Share of images that are misclassified (or, without labels or training, classified differently) under noise "
        "of one frequency, 0 in the middle; all panels share the scale of colours.",
        "Each image is perturbed by a Fourier basis vector of fixed norm with a random sign in each channel.",
    ),
    "frequency_bands": (
        "Noise of one band of frequencies",
        "Top-1 accuracy (or the share of unchanged predictions) against the frequency of the noise, with 95 % "
        "intervals; 'clean' is without noise.",
        "Gaussian noise whose spectrum is confined to a ring, of the same norm in every band.",
    ),
}
DEFINITION: Final = Definition(
    text="F is the discrete Fourier transform of a feature map of H x W. Its log amplitude is averaged over channels "
    "and images. U is a real basis vector of l2 norm 1 whose only Fourier coefficients are at (i, j) and (-i, -j); r "
    "is -1 or 1 at random for each image and channel. Noise is added to pixels in [0, 1], which are not clipped.",
    formulas=(
        Formula(quantity="relative log amplitude", equals="mean of ln |F(π, π)| − mean of ln |F(0, 0)|"),
        Formula(quantity="change by a mixer", equals="that of its output minus that of its input"),
        Formula(quantity="noise of one frequency", equals="x + r · v · U_ij, ‖U_ij‖ = 1, v = 15.7 · √(H·W) / 224"),
        Formula(quantity="noise of a band", equals="x + n, n Gaussian on low < ρ ≤ high, ‖n‖ = v in each channel"),
    ),
    source="Park and Kim 2022; Yin et al. 2019; intervals: resampled images (amplitudes), Wilson 1927 and Agresti and "
    "Coull 1998 (shares)",
    page="docs/definitions/frequency.md",
)


def section(view: View) -> Section:
    """The section of a report."""
    frame = view.rows
    drawn, left_out = drawn_or_not(frame, view.folder)
    plots = [
        Plot(name=name, figure=figure, title=CAPTIONS[name][0], shows=CAPTIONS[name][1], measured=CAPTIONS[name][2])
        for name, figure in drawn.items()
    ]
    tables = (_summary(frame), *(_by_block(frame, *of) for of in BLOCK_TABLES), *(_by_band(frame, *of) for of in BANDS))
    return Section(
        name=NAME,
        heading="Frequencies",
        lead=_lead(frame),
        conditions=conditions(frame),
        plots=tuple(plots),
        tables=tuple(table for table in tables if table is not None),
        definition=DEFINITION,
        caveats=(*caveats(frame), *(Caveat(kind="note", text=text) for text in left_out)),
    )


def _summary(frame: pd.DataFrame) -> Table | None:
    columns = [
        Measured(Column(heading="Mixers", unit="change"), CHANGE, _of_mixers(frame)),
        Measured(Column(heading="Accuracy", unit="%, clean"), ACCURACY,
                 points_of(frame, ACCURACY, CLEAN)),
        Measured(Column(heading="Wrong", unit="under one frequency"), ERROR, points_of(frame, ERROR)),
        Measured(Column(heading="Changed", unit="under one frequency"), CHANGED,
                 points_of(frame, CHANGED)),
    ]  # fmt: skip
    note = (
        "Mixers: change of the relative log amplitude from input to output, mean over all mixers. Wrong and changed: "
        "means over the heat map. Small numbers are 95 % intervals."
    )
    return by_model("frequency", "Low-pass or high-pass", columns, note=note)


BLOCK_TABLES: Final = (
    ("frequency-blocks", "Relative log amplitude after each block", AMPLITUDE, BLOCK),
    ("frequency-mixers", "Change by each mixer", CHANGE, MIXER),
    ("frequency-mixer-inputs", "Relative log amplitude before each mixer", AMPLITUDE, MIXER_INPUT),
    ("frequency-mixer-outputs", "Relative log amplitude after each mixer", AMPLITUDE, MIXER_OUTPUT),
)


def _by_block(frame: pd.DataFrame, name: str, title: str, metric: str, condition: str) -> Table | None:
    """A column for each block, a row for each model."""
    places = [place for of_model in by_place(frame, metric, condition).values() for place in of_model]
    columns = [
        Measured(Column(heading=f"{stage + 1}.{block + 1}"), metric,
                 [place.point for place in places if place[:2] == (stage, block)])
        for stage, block in sorted({place[:2] for place in places})
    ]  # fmt: skip
    note = "Columns are stage and block, both from 1. Blocks whose map is one unit have no frequency but 0."
    return by_model(name, title, columns, note=note)


BANDS: Final = (
    ("frequency-bands-accuracy", "Accuracy by band of noise", ACCURACY),
    ("frequency-bands-consistency", "Unchanged predictions by band of noise", CONSISTENCY),
)


def _by_band(frame: pd.DataFrame, name: str, title: str, metric: str) -> Table | None:
    answers = points_of(frame, metric, BAND)
    known = np.array(sorted({point.level for point in answers}))
    shown = known[np.unique(np.linspace(0, len(known) - 1, MOST).round().astype(int))] if len(known) else known
    columns = [
        Measured(Column(heading=f"{level:.3g}π"), metric, [point for point in answers if point.level == level])
        for level in shown
    ]
    return by_model(name, title, columns, note="In %, at the middle of each band.")


def _of_mixers(frame: pd.DataFrame) -> list[Point]:
    return points_of(frame, CHANGE, ALL_MIXERS)


def _lead(frame: pd.DataFrame) -> str:
    sentences = []
    ranked = sorted(_of_mixers(frame), key=lambda point: point.value)
    if len(ranked) == 1:
        sentences.append(f"The mixers of {ranked[0].label} {_does(ranked[0])}.")
    elif ranked:
        sentences.append(
            f"The most low-pass mixers of {len(ranked)} models are those of {ranked[0].label}, which "
            f"{_does(ranked[0])}; the least are those of {ranked[-1].label}, which {_does(ranked[-1])}."
        )
    errors = sorted(points_of(frame, ERROR), key=lambda point: point.value)
    errors = [point for point in errors if not point.is_untrained]
    if errors:
        best = errors[0]
        share = f"{100 * best.value:.1f} %"
        who = f"{best.label} errs" if len(errors) == 1 else f"{best.label} errs least"
        sentences.append(f"Under noise of one frequency {who}: on {share} of images, averaged over the heat map.")
    return " ".join(sentences) or "Answers under noise of bands of frequencies were measured."


def _does(point: Point) -> str:
    """'weaken the highest frequencies (-2.241)'."""
    if point.errors is not None and point.low <= 0 <= point.high:
        return f"leave the highest frequencies as they are ({number(point.value, CHANGE)})"
    word = "weaken" if point.value < 0 else "strengthen"
    return f"{word} the highest frequencies ({number(point.value, CHANGE)})"
