"""How well detectors find objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from stmbench.analyses.detection.figures import figures
from stmbench.analyses.detection.figures.plots import by_class, left_out
from stmbench.analyses.registry import View
from stmbench.figures.differences import differences
from stmbench.figures.plot_data import Point, labels, points_of
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Caveat, Cell, Column, Definition, Formula, Plot, Row, Section, Table
from stmbench.reporting.model_table import MOST, Measured, best, by_model, cell, conditions, measured
from stmbench.tables.labels import listed

DEFINITION: Final = Definition(
    text="Detections of a class are matched with its objects image by image, the surest first: each takes the free "
    "object that it overlaps most, if the overlap (IoU) is at least t. Precision at a recall is the largest at that "
    "recall or a higher one. Of each image and class the 100 surest detections count; crowds are neither hits nor "
    "misses. Sizes are areas of objects in pixels: small below 32², large above 96².",
    formulas=(
        Formula(quantity="IoU", equals="area of the intersection / area of the union, of boxes or of masks"),
        Formula(quantity="AP(t, class)", equals="(1/101) Σᵣ max over r' ≥ r of precision(r'),  r = 0, 0.01, ..., 1"),
        Formula(quantity="AP", equals="mean of AP(t, class) over t = 0.50, 0.55, ..., 0.95 and the classes present"),
        Formula(quantity="AP50, AP75", equals="the same at t = 0.50, and at t = 0.75"),
        Formula(quantity="AR with n detections", equals="mean over t and classes of the recall of the n surest"),
    ),
    source="Lin et al. 2014 (COCO) and its evaluation code; intervals: resampled images",
    page="docs/detection.md",
)
SIZES: Final = ("small", "medium", "large")
KINDS: Final = ("box", "mask")
PRECISION: Final = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", **{f"ap_{size}": f"AP {size}" for size in SIZES}}
RECALL: Final = {"ar1": "AR 1", "ar10": "AR 10", "ar100": "AR 100", **{f"ar_{size}": f"AR {size}" for size in SIZES}}
CAPTIONS: Final = {
    "detection_ap": (
        "Average precision",
        "AP of boxes, of masks where the detector has them, and the differences to the control where those are known; "
        "the best first.",
        "Whiskers are 95 % intervals, of differences paired by image. Of several trainings each has a small mark; the "
        "large one is their mean, its whisker spans all intervals.",
    ),
    "sizes": (
        "{} AP by size of object",
        "AP of small, medium and large objects, with 95 % intervals where they are known.",
        "Sizes are areas in pixels of the data set's images. A size without objects is left out.",
    ),
    "curves": (
        "Precision and recall of {}",
        "Precision at each recall, the mean over classes, where a hit has to overlap its object by one half, and by "
        "three quarters. The area below a line is AP50, and AP75.",
        "Precision is the largest at that recall or a higher one, at COCO's 101 recalls.",
    ),
    "classes": (
        "{} AP by class",
        "The classes in which models differ most, a column for each model.",
        "Of few objects a class's AP is mostly chance; it has no interval.",
    ),
    "detection_examples": (
        "Detections in example images",
        "Objects in the first column, then what each model detects with a score of at least 0.5: boxes, classes, "
        "scores and masks. Objects are dashed in all columns.",
        "The first images of the run, not chosen by result.",
    ),
}


def detection_section(frame: pd.DataFrame) -> Section:
    """The section of the analysis 'detection'; artifacts are paths that can be opened."""
    tables = [*_scores(frame), _differences(frame), *_by_class(frame)]
    return Section(
        name="detection",
        heading="Detection",
        lead=" ".join([best(points_of(frame, "box_ap"), "box_ap", words="box AP"), *_against_control(frame)]),
        conditions=conditions(frame),
        plots=tuple(_plots(figures(View(rows=frame, folder=Path())))),
        tables=tuple(table for table in tables if table is not None),
        definition=DEFINITION,
        caveats=(*caveats(frame), *(Caveat(kind="note", text=text) for text in left_out(frame))),
    )


def _plots(drawn: dict[str, Figure]) -> Iterator[Plot]:
    for name, figure in drawn.items():
        key = name if name in CAPTIONS else name.rpartition("_")[2]
        title, shows, how = CAPTIONS[key]
        is_mask = name.startswith("detection_mask_")
        what = ("masks" if is_mask else "boxes") if key == "curves" else ("Mask" if is_mask else "Box")
        yield Plot(name=name, figure=figure, title=title.format(what), shows=shows, measured=how)


def _scores(frame: pd.DataFrame) -> Iterator[Table | None]:
    """COCO's twelve numbers, of boxes and of masks."""
    for kind in KINDS:
        for name, title, metrics in (("ap", "Average precision", PRECISION), ("ar", "Average recall", RECALL)):
            columns = [measured(frame, f"{kind}_{metric}", heading) for metric, heading in metrics.items()]
            what = "boxes" if kind == "box" else "masks"
            note = "Small numbers are 95 % intervals over images." if name == "ap" else (
                "AR 1: with the surest detection of each image and class; AR 10 and AR 100 likewise."
            )  # fmt: skip
            yield by_model(f"detection-{kind}-{name}", f"{title} of {what}", columns, note=note)


def _differences(frame: pd.DataFrame) -> Table | None:
    """What each model has over the control."""
    found = [
        Measured(Column(heading=f"{kind.capitalize()} {PRECISION[name]}", unit="points"), f"{kind}_{name}_difference",
                 points_of(frame, f"{kind}_{name}_difference"))
        for kind in KINDS for name in ("ap", "ap50", "ap75")
    ]  # fmt: skip
    controls = {point.baseline for column in found for point in column.points if point.baseline}
    if len(controls) != 1:
        return None
    control = labels(frame).get(controls.pop(), "the control")
    note = f"Minus that of {control}; 95 % intervals over the images that both have seen."
    return by_model("detection-differences", f"Differences to {control}", found, note=note)


def _against_control(frame: pd.DataFrame) -> Iterator[str]:
    """Whether the differences to the control are resolved: a sentence, where there are some."""
    compared = differences(frame, "box_ap")
    if compared is None:
        return
    sides: dict[str, list[str]] = {"higher": [], "lower": [], "open": []}
    for point in compared.points:
        sides[_side(point)].append(point.name)
    said = [f"{_who(names)} {'has' if len(names) == 1 else 'have'} a {side} box AP"
            for side, names in sides.items() if names and side != "open"]  # fmt: skip
    if sides["open"]:
        said.append(f"the difference of {_who(sides['open'])} is inconclusive")
    yield f"Compared with {compared.control.name}, {'; '.join(said)}."


def _side(point: Point) -> str:
    """Where the whole interval of a difference lies."""
    if point.errors is None:
        return "open"
    return "higher" if point.low > 0 else "lower" if point.high < 0 else "open"


def _who(names: list[str]) -> str:
    return listed(names) if len(names) <= MOST else f"{len(names)} models"


def _by_class(frame: pd.DataFrame) -> Iterator[Table]:
    """AP of every class: folded, as there can be many."""
    for kind in KINDS:
        classes = by_class(frame, kind)
        models = {label: point for found in classes.values() for label, point in found.items()}
        if not models:
            continue
        yield Table(
            name=f"detection-{kind}-classes",
            title=f"{kind.capitalize()} AP by class",
            columns=(Column(heading="Class", is_number=False), *(Column(heading=label, unit="%") for label in models)),
            lines=tuple(
                Row(cells=(Cell(text=name), *(cell(found.get(label), f"{kind}_ap") for label in models)))
                for name, found in classes.items()
            ),
            lines_on_paper=20,
            folded=True,
        )


def section(view: View) -> Section:
    """The section of a report."""
    return detection_section(view.rows)
