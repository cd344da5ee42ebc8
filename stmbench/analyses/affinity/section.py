"""Where mixers look."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pandas as pd

from stmbench.analyses.affinity.figures import drawn_or_not
from stmbench.analyses.registry import View
from stmbench.figures.plot_data import labels
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Caveat, Cell, Column, Definition, Formula, Plot, Row, Section, Table
from stmbench.reporting.metrics_table import metrics_table
from stmbench.reporting.model_table import conditions
from stmbench.tables.labels import weights_text
from stmbench.tables.rows import display, number

DEFINITION: Final = Definition(
    text="Where each output position q of a mixer looks. A mixer is written Y = project(A(X) · values(X)); row a of A "
    "holds the weight of every value token k. Numbers are taken of every layer, head and output position, with "
    "p the row's share of weight and r positions in pixels of the input.",
    formulas=(
        Formula(quantity="p_k", equals="|a_k| / Σ_j |a_j|, padding left out"),
        Formula(quantity="attention distance", equals="Σ_k p_k ‖r_k − r_q‖"),
        Formula(quantity="entropy", equals="−Σ_k p_k log₂ p_k"),
        Formula(quantity="weight within R", equals="Σ p_k over ‖r_k − r_q‖ ≤ R tokens"),
        Formula(quantity="centroid offset", equals="‖Σ_k p_k (r_k − r_q)‖"),
    ),
    source="Gao et al. 2021, eq. 1 and 2, Fig. 1; Dosovitskiy et al. 2021, section 4.5; Raghu et al. 2021, section 4",
    page="docs/definitions/affinity.md",
)

METRICS: Final = (
    *("attention_distance", "affinity_entropy", "mass_within", "self_weight", "centroid_offset", "padding_mass"),
    *("static_agreement", "alpha", "beta"),
)
CAPTIONS: Final = {
    "attention_distance": (
        "Mean attention distance by depth",
        "How far each layer looks, in pixels of the input; bars reach from the lowest to the highest head.",
        "Every layer, head and output position is taken; no row or image is sampled.",
    ),
    "locality": (
        "Locality by depth",
        "The share of weight within a radius, in tokens of the layer's map, a panel for each radius.",
        "Padding is left out of the weight.",
    ),
    "mixture": (
        "Dynamic and static parts by depth",
        "The learned coefficients of the dynamic part (alpha) and the static one (beta), layer by layer.",
        "They multiply the parts; where heads differ, the bar reaches from the lowest to the highest.",
    ),
    "maps": (
        "Affinity at the same positions",
        "Where chosen output positions look, in the first and the last layer that was kept.",
        "The frame marks the output position; all panels share one scale, of the cube root of "
        "the weight; the number below is the panel's largest.",
    ),
}
MEANING: Final = Caveat(
    kind="note",
    text="An attention weight is no explanation: it leaves out the norms of the values and everything after the "
    "projection.",
)


def affinity_section(frame: pd.DataFrame, everything: pd.DataFrame) -> Section:
    """The section of the analysis 'affinity'; artifacts are paths that can be opened."""
    rows = frame[frame["value"].notna() & frame["head"].isna() & (frame["metric"] != "affinity_map")]
    rows.attrs = frame.attrs
    plots, left_out = _plots(frame)
    tables = () if rows.empty else (_table(rows), _layers(rows))
    return Section(
        name="affinity",
        heading="Affinity",
        lead=_lead(rows),
        conditions=conditions(frame),
        plots=tuple(plots),
        tables=tuple(table for table in tables if table is not None),
        definition=DEFINITION,
        caveats=(*caveats(frame), *left_out, *([] if rows.empty else [MEANING])),
    )


def _plots(frame: pd.DataFrame) -> tuple[list[Plot], list[Caveat]]:
    # the maps of every model apart are in the store's figures: here they would be most of the page
    figures, sentences = drawn_or_not(frame, folder=Path(), each=False)
    found = []
    for name, figure in figures.items():
        title, shows, measured = CAPTIONS.get(name, CAPTIONS["maps"])
        found.append(Plot(name=name, figure=figure, title=title, shows=shows, measured=measured))
    return found, [Caveat(kind="note", text=text) for text in sentences]


def _lead(rows: pd.DataFrame) -> str:
    distances = rows[(rows["metric"] == "attention_distance") & ~rows["condition"].isin(("static", "dynamic"))]
    if distances.empty:
        return "No attention distance was measured."
    means = distances.groupby("model", sort=False)["value"].mean().sort_values(ascending=False)
    names = labels(rows)
    far, near = (names[str(means.index[place])] for place in (0, -1))
    if len(means) == 1:
        return f"{far} looks {means.iloc[0]:.1f} px far, on average over its layers."
    return (
        f"On average over layers {far} looks farthest ({means.iloc[0]:.1f} px) and {near} least far "
        f"({means.iloc[-1]:.1f} px)."
    )


def _table(rows: pd.DataFrame) -> Table:
    """A row for each model, part and stage: means over its layers (and positions, of a Jacobian)."""
    radii = sorted(rows.loc[rows["metric"] == "mass_within", "level"].dropna().unique())
    radius = radii[min(1, len(radii) - 1)] if radii else None
    near = rows[(rows["metric"] != "mass_within") | (rows["level"] == radius)]
    metrics = [metric for metric in METRICS if (near["metric"] == metric).any()]
    names, lines = labels(rows), []
    for _, group in near.groupby(["model", "weights", "condition", "stage"], sort=False, dropna=False):
        first = group.iloc[0]
        model, stage, part, weights = (first[name] for name in ("model", "stage", "condition", "weights"))
        cells = [
            Cell(text=names[str(model)], detail=weights_text(weights)),
            Cell(text="–" if pd.isna(stage) else str(int(stage) + 1), value=None if pd.isna(stage) else float(stage)),
            Cell(text="–" if pd.isna(part) else str(part)),
            *(_mean(group, metric) for metric in metrics),
        ]
        lines.append(Row(cells=tuple(cells), model=str(model)))
    return Table(
        name="affinity",
        title="Where mixers look, by stage",
        columns=(
            Column(heading="Model", is_number=False),
            Column(heading="Stage"),
            Column(heading="Part", is_number=False),
            *(_heading(metric, radius) for metric in metrics),
        ),
        lines=tuple(lines),
        note="Means over layers, heads and positions.",
    )


def _layers(rows: pd.DataFrame) -> Table | None:
    """A row for each layer, and for each position of a Jacobian; stages and blocks count from 1, as in figures."""
    counted = rows.assign(stage=rows["stage"] + 1, block=rows["block"] + 1)
    counted.attrs = rows.attrs
    metrics = [*METRICS, "static_share", "centroid_y", "centroid_x"]
    note = "Means over heads and positions. The centroid's y and x are offsets from the output position."
    return metrics_table(
        "affinity-layers", "Every layer", counted, metrics, across=("level",), heading=_heading, note=note
    )


def _heading(metric: str, radius: float | None) -> Column:
    shown = display(metric)
    name = shown.name if radius is None or metric != "mass_within" else f"within {radius:g} tokens"
    return Column(heading=name[:1].upper() + name[1:], unit=shown.unit)


def _mean(group: pd.DataFrame, metric: str) -> Cell:
    values = group.loc[group["metric"] == metric, "value"]
    if values.empty:
        return Cell(text="–")
    mean = float(values.mean())
    return Cell(text=number(mean, metric), value=mean)


def section(view: View) -> Section:
    """The section of a report."""
    return affinity_section(view.rows, view.everything)
