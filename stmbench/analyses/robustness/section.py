"""What is left under attack, and which differences between models are sure."""

from __future__ import annotations

from typing import Final

import pandas as pd

from stmbench.analyses.registry import View
from stmbench.analyses.robustness.figures import (
    METRICS,
    Panels,
    attack_words,
    eps_words,
    panels_of,
    place_of,
    place_words,
    robustness_figures,
)
from stmbench.errors import TableError
from stmbench.figures.plot_data import labels
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Cell, Column, Definition, Formula, Plot, Row, Section, Table
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
    tests = _tests(frame)
    plots = [
        Plot(
            name=name,
            figure=figure,
            title="Under attack",
            shows="Accuracy at each eps; models are drawn side by side so that intervals can be read. Hollow "
            "marks break a check of validity.",
            measured="Whiskers are Wilson's 95 % intervals over the same images for all models.",
        )
        for name, figure in robustness_figures(frame).items()
    ]
    return Section(
        name="robustness",
        heading="Adversarial robustness",
        lead=lead,
        conditions=conditions(frame),
        plots=tuple(plots),
        tables=(*tables, *([] if tests is None else [tests])),
        definition=DEFINITION,
        # a check that another attack would be needed for is no unit that was left out
        caveats=caveats(_without_checks(frame)),
    )


def _by_attack(panels: Panels, metric: str) -> list[Table]:
    found = []
    for number, (attack, points) in enumerate(panels.items(), 1):
        columns = [
            Measured(Column(heading=place_words(place), unit="%"), metric, [p for p in points if place_of(p) == place])
            for place in sorted({place_of(point) for point in points})
        ]
        note = f"{metric.capitalize()} in %; small numbers are 95 % intervals. An asterisk breaks a check of validity."
        table = by_model(f"robustness-{metric}-{number}", f"{metric.capitalize()} under {attack}", columns, note=note)
        found += [] if table is None else [table]
    return found


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
    for row in rows.sort_values("value", kind="stable").to_dict("records"):
        sure = row["value"] < SIGNIFICANT
        cells = (
            Cell(text=f"{names[str(row['model'])]} and {names[str(row['baseline'])]}"),
            Cell(text=attack_words(str(row["definition"]))),
            Cell(text=eps_words(row["level"]), value=row["level"]),
            Cell(text="< 0.001" if row["value"] < 0.001 else f"{row['value']:.3f}", value=row["value"]),
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
            Column(heading="p", unit="Holm"),
            Column(heading="Verdict", is_number=False),
        ),
        lines=tuple(lines),
        note=f"Exact or chi-square, corrected by Holm over all pairs at one attack and eps; differ: p < {SIGNIFICANT}. "
        f"{differing} of {len(lines)} differ.",
        lines_on_paper=TESTS_ON_PAPER,
    )


def _without_checks(frame: pd.DataFrame) -> pd.DataFrame:
    rows = frame[(frame["metric"] != "validity").fillna(True).astype(bool)]
    rows.attrs = frame.attrs
    return rows


def section(view: View) -> Section:
    """The section of a report."""
    return robustness_section(view.rows, view.everything)
