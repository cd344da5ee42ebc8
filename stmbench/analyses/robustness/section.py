"""What is left under attack, and which differences between models are sure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from stmbench.analyses.registry import View
from stmbench.analyses.robustness.figures import (
    METRICS,
    Panels,
    attack_words,
    eps_words,
    left_out,
    panels_of,
    place_of,
    place_words,
    robustness_figures,
)
from stmbench.errors import TableError
from stmbench.figures.plot_data import labels
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Caveat, Cell, Column, Definition, Formula, Plot, Row, Section, Table
from stmbench.reporting.metrics_table import metrics_table, valued
from stmbench.reporting.model_table import Measured, best, by_model, conditions

DEFINITION: Final = Definition(
    text="What is left of the accuracy when an adversary who knows the model may change every pixel by at most eps, on "
    "the scale of pixels in [0, 1]; normalisation is inside the attacked model. A set without labels has none to lose: "
    "there the model's own clean prediction is attacked and what is left of it is called consistency.",
    formulas=(
        Formula(quantity="FGSM", equals="x′ = clamp(x + eps · sign(∂CE(f(x), y) / ∂x), 0, 1)"),
        Formula(quantity="accuracy(eps)", equals="(1/N) Σᵢ [argmax f(x′ᵢ) = yᵢ], with Wilson's score interval"),
        Formula(
            quantity="McNemar's p",
            equals="min(1, 2·P(Binomial(b + c, ½) ≤ min(b, c))), b and c: images one model alone gets right",
        ),
    ),
    source="Goodfellow et al. 2015; Madry et al. 2018; Croce and Hein 2020; Hu et al., section 6.3 and Fig. 8; "
    "Wilson 1927; McNemar 1947; Holm 1979",
    page="docs/definitions/robustness.md",
)

DIFFERENCES: Final = ("accuracy_difference", "consistency_difference")
SIGNIFICANT: Final = 0.05
TESTS_ON_PAPER: Final = 30  # the surest; 23 models at four eps make a thousand


def robustness_section(frame: pd.DataFrame, everything: pd.DataFrame) -> Section:
    """The section of the analysis 'robustness'."""
    tables: list[Table] = []
    lead = "Nothing was attacked."
    for metric in METRICS:
        try:
            panels = panels_of(frame, metric)
        except TableError:
            continue  # a set has labels or has none
        tables += _by_attack(panels, metric)
        lead = _lead(panels, metric)
    further = (_remaining(frame), _tests(frame), _checks(frame))
    plots = []
    for name, figure in robustness_figures(frame).items():
        title, measured = "Under attack", "Whiskers are Wilson's 95 % intervals over the same images for all models."
        shows = (
            "Accuracy at each eps; models are drawn side by side so that intervals can be read. Hollow marks break a "
            "check of validity."
        )
        if name.endswith("_differences"):
            title += ", differences"
            measured = "Bands are 95 % intervals, paired by image; of several trainings they reach over all."
            shows = (
                "What each model has more or less than the control at each eps, the others in grey; marks are full "
                "where the interval excludes 0."
            )
        plots.append(Plot(name=name, figure=figure, title=title, shows=shows, measured=measured))
    return Section(
        name="robustness",
        heading="Adversarial robustness",
        lead=lead,
        conditions=conditions(frame),
        plots=tuple(plots),
        tables=(*tables, *(table for table in further if table is not None)),
        definition=DEFINITION,
        # a check that another attack would be needed for is no unit that was left out
        caveats=(
            *caveats(_without_checks(frame)),
            *(Caveat(kind="note", text=text) for text in left_out(frame)),
        ),
    )


def _by_attack(panels: Panels, metric: str) -> list[Table]:
    measured = []
    for number, (attack, points) in enumerate(panels.items(), 1):
        columns = [
            Measured(Column(heading=place_words(place), unit="%"), metric, [p for p in points if place_of(p) == place])
            for place in sorted({place_of(point) for point in points})
        ]
        note = f"{metric.capitalize()} in %; small numbers are 95 % intervals. An asterisk breaks a check of validity."
        table = by_model(f"robustness-{metric}-{number}", f"{metric.capitalize()} under {attack}", columns, note=note)
        measured += [] if table is None else [table]
    return measured


def _lead(panels: Panels, metric: str) -> str:
    attack, points = next(iter(panels.items()))
    strongest = max(place_of(point) for point in points)
    left = [point for point in points if place_of(point) == strongest]
    return best(left, metric, words=f"{metric} under {attack} at {place_words(strongest)}")


def _tests(frame: pd.DataFrame) -> Table | None:
    """McNemar's test of every pair of models at every eps and attack, the surest first."""
    rows = frame[(frame["metric"] == "mcnemar_p_holm") & frame["value"].notna()]
    if rows.empty:
        return None
    names, lines = labels(frame), []
    differences = {_pair(row): row for row in frame[frame["metric"].isin(DIFFERENCES)].to_dict("records")}
    uncorrected = {_pair(row): row["value"] for row in frame[frame["metric"] == "mcnemar_p"].to_dict("records")}
    for row in rows.sort_values("value", kind="stable").to_dict("records"):
        sure = row["value"] < SIGNIFICANT
        cells = (
            Cell(text=f"{names[str(row['model'])]} and {names[str(row['baseline'])]}"),
            Cell(text=attack_words(str(row["definition"]))),
            Cell(text=eps_words(row["level"]), value=row["level"]),
            valued(differences[_pair(row)]) if _pair(row) in differences else Cell(text="–"),
            _p(uncorrected.get(_pair(row))),
            _p(row["value"]),
            Cell(text="differ" if sure else "no difference shown"),
        )
        lines.append(Row(cells=cells))
    differing = int((rows["value"] < SIGNIFICANT).sum())
    return Table(
        name="robustness-tests",
        title="McNemar's test between models",
        columns=(
            Column(heading="Models", is_number=False),
            Column(heading="Attack", is_number=False),
            Column(heading="eps"),
            Column(heading="Difference", unit="%"),
            Column(heading="p"),
            Column(heading="p", unit="Holm"),
            Column(heading="Verdict", is_number=False),
        ),
        lines=tuple(lines),
        note="Difference: the first model's share minus the second's. Exact or chi-square, corrected by Holm over all "
        f"pairs at one attack and eps; differ: p < {SIGNIFICANT}. "
        f"{differing} of {len(lines)} differ.",
        lines_on_paper=TESTS_ON_PAPER,
    )


def _pair(row: Mapping[Any, Any]) -> tuple[str, ...]:
    """What one test has of its own."""
    own = ("model", "baseline", "weights", "dataset", "resolution", "dtype", "seed", "definition", "level")
    return tuple(str(row[name]) for name in own)


def _p(value: float | None) -> Cell:
    if value is None or pd.isna(value):
        return Cell(text="–")
    return Cell(text="< 0.001" if value < 0.001 else f"{value:.3f}", value=value)


def _remaining(frame: pd.DataFrame) -> Table | None:
    """Of the images that are right before the attack: the share that stays right."""
    return metrics_table(
        "robustness-on-correct",
        "Accuracy where clean is right",
        frame,
        ["accuracy_on_correct"],
        across=("level",),
        heading=lambda _, eps: Column(heading=eps_words(eps), unit="%"),
        note="Small numbers are 95 % intervals.",
    )


def _checks(frame: pd.DataFrame) -> Table | None:
    """Every check of validity, and how often the gradient is exactly zero."""
    levels = [None if pd.isna(eps) else eps_words(eps) for eps in frame["level"]]
    rows = frame.assign(level=pd.Series(levels, index=frame.index, dtype=object))
    rows.attrs = frame.attrs
    return metrics_table(
        "robustness-validity",
        "Checks of validity",
        rows,
        ["validity", "zero_gradient_share"],
        across=("condition",),
        heading=lambda metric, check: Column(heading=str(check or metric).replace("_", " ").capitalize()),
        note="1: the check passes; 0: it fails. Zero gradient share: of the pixels, on average over the images.",
    )


def _without_checks(frame: pd.DataFrame) -> pd.DataFrame:
    rows = frame[(frame["metric"] != "validity").fillna(True).astype(bool)]
    rows.attrs = frame.attrs
    return rows


def section(view: View) -> Section:
    """The section of a report."""
    return robustness_section(view.rows, view.everything)
