"""The points that tell how models answer: right and wrong, or the same and changed where nothing says what is right."""

from __future__ import annotations

import pandas as pd

from stmbench.analyses.frequency.options import (
    ACCURACY,
    BAND,
    CHANGED,
    CONSISTENCY,
    ERROR,
)
from stmbench.figures.places import points_of
from stmbench.figures.plot_data import Point


def right_or_same(frame: pd.DataFrame) -> tuple[str, list[Point]]:
    """The metric that tells how models answer under noise of bands, and its points.

    Accuracy, unless no model is trained or there are no labels: then consistency.
    """
    answers = points_of(frame, ACCURACY, BAND)
    if any(not point.is_untrained for point in answers):
        return ACCURACY, answers
    return CONSISTENCY, points_of(frame, CONSISTENCY, BAND)


def wrong_or_changed(frame: pd.DataFrame) -> tuple[str, list[Point]]:
    """The metric of the heat maps, and its points: errors, unless no model is trained or there are no labels."""
    errors = points_of(frame, ERROR)
    if any(not point.is_untrained for point in errors):
        return ERROR, errors
    return CHANGED, points_of(frame, CHANGED)
