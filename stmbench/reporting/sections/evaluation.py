"""How often models are right, and how well they know it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd

from stmbench.figures.display_units import number
from stmbench.figures.evaluation import evaluation_figures
from stmbench.figures.groups import within
from stmbench.figures.plot_data import Point, labels
from stmbench.reporting.caveats import caveats, listed
from stmbench.reporting.content import Plot, Section, Table
from stmbench.reporting.definitions import EVALUATION
from stmbench.reporting.model_table import by_model, conditions, measured, points_of

MOST: Final = 3  # settings with a sentence, models with a name
METRICS: Final = ("accuracy", "accuracy_top5", "calibration_error", "nll", "brier")


def evaluation_section(frame: pd.DataFrame, everything: pd.DataFrame) -> Section:
    """The section of the analysis 'eval'."""
    table = by_model(
        "eval", "Accuracy and calibration", [measured(frame, metric) for metric in METRICS],
        note="Small numbers are 95 % intervals, over images; those of the calibration error reach below it, because "
        "chance only ever adds to it.",
    )  # fmt: skip
    plots = [
        Plot(
            name=name,
            figure=figure,
            title="Accuracy and calibration",
            shows="Top-1 accuracy of each model, the best first, and the expected calibration error beside it; "
            "whiskers are 95 % intervals.",
            measured="All models see the same images. Accuracy has Wilson's interval, calibration one that allows for "
            "its bias on few images.",
        )
        for name, figure in evaluation_figures(frame).items()
    ]
    return Section(
        name="eval",
        heading="Evaluation",
        lead=best(points_of(frame, "accuracy"), "accuracy"),
        conditions=conditions(frame),
        plots=tuple(plots),
        tables=tuple(found for found in (table, _differences(frame)) if found is not None),
        definition=EVALUATION,
        caveats=caveats(frame),
    )


def _differences(frame: pd.DataFrame) -> Table | None:
    """What each model has over the control, answer by answer."""
    column = measured(frame, "accuracy_difference", heading="Difference", unit="points")
    names = {point.baseline for point in column.points if point.baseline}
    if len(names) != 1:
        return None
    control = labels(frame).get(names.pop(), "the control")
    note = (
        f"Accuracy minus that of {control} on the same images; 95 % intervals of paired shares (Agresti and Min 2005)."
    )
    return by_model("eval-differences", f"Differences to {control}", [column], note=note)


def best(points: list[Point], metric: str, *, words: str = "accuracy") -> str:
    """'A has the highest accuracy of 5: 98.1 % (97.0 to 99.0); its interval overlaps that of B.'

    A sentence for each setting. How often random weights are right is no result: they lead nothing, which is said.
    """
    no_result = [point for point in points if metric == "accuracy" and point.is_untrained]
    groups = list(within(point for point in points if point not in no_result).values())
    mixed = len({group[0].is_untrained for group in groups}) > 1
    sentences = [_best_of(group, metric, words, mixed=mixed) for group in groups[:MOST]]
    if len(groups) > MOST:
        sentences.append(f"{len(groups) - MOST} more settings are in the table.")
    if no_result:
        names = list(dict.fromkeys(point.name for point in no_result))
        who = listed(names) if len(names) <= MOST else f"{len(names)} models"
        sentences.append(f"{who} {'has' if len(names) == 1 else 'have'} random weights, whose {words} is no result.")
    return " ".join(sentences) or f"No {words} was measured."


def _best_of(points: Sequence[Point], metric: str, words: str, *, mixed: bool) -> str:
    """The sentence on the points of one setting, which labels name where there are several.

    Args:
        mixed: whether others are trained where these are not, or the other way round.
    """
    ranked = sorted(points, key=lambda point: -point.value)
    first = ranked[0]
    words = f"{words} {'without' if first.is_untrained else 'after'} training" if mixed else words
    spread = f" ({number(first.low, metric)} to {number(first.high, metric)})" if first.errors is not None else ""
    value = f"{number(first.value, metric)} %{spread}"
    if len(ranked) == 1:
        return f"{first.label}: {words} {value}."
    if first.value == ranked[-1].value:
        return f"All {len(ranked)} models have the same {words}: {value}."
    text = f"{first.label} has the highest {words} of {len(ranked)}: {value}"
    if first.errors is None:
        return f"{text}."
    near = [point for point in ranked[1:] if point.errors is not None and point.high >= first.low]
    if not near:
        return f"{text}, clear of all others' intervals."
    who = near[0].label if len(near) == 1 else f"{len(near)} others"
    return f"{text}; its interval overlaps that of {who}."
