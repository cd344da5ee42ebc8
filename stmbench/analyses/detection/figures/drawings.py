"""Example images with what is there and what each detector found: boxes, classes, scores, masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import AbstractPathEffect, withStroke
from numpy.typing import NDArray

from stmbench.errors import printable
from stmbench.figures.annotations import mark
from stmbench.figures.palette import BLACK, WHITE, text_on
from stmbench.figures.plot_data import labels, points_of
from stmbench.figures.style import MUTED, STYLE, shorten
from stmbench.tables.files import read_arrays
from stmbench.tables.labels import is_random

MOST_IMAGES: Final = 6
MOST_MODELS: Final = 4
MOST_LABELS: Final = 12  # in one panel, of the surest detections
SIDE: Final = 1.8  # inches of a panel's width
LETTERS: Final = 6.5  # points, of the words at a box
GAP, CAPTION, TOP, BOTTOM = 0.06, 0.2, 0.5, 0.3  # inches
# of classes: on images, so the same on a dark page, and none of the models'
COLOURS: Final = ("#1fa2ff", "#ff7a45", "#12b886", "#f25fbd", "#d4b106", "#a688ff", "#ff5964", "#17c3d6")
FILL: Final = 0.4  # of a mask's colour
TITLE: Final = 44  # letters of an image's title
THIN: Final[list[AbstractPathEffect]] = [withStroke(linewidth=2.6, foreground=BLACK, alpha=0.5)]
NOTE: Final = "dashed: what is there; solid: detections with a score of at least 0.5; colours: classes"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """One image and what a detector found in it.

    Pixels (H, W, 3), true and detected boxes (n, 4) left, top, right, bottom in its pixels, labels and scores (n,),
    masks (n, H, W) or None; names of the labels, which begin at 1.
    """

    title: str
    image: NDArray[np.uint8]
    true_boxes: NDArray[np.float32]
    true_labels: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    masks: NDArray[np.bool_] | None
    classes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Detector:
    """A column: a model, and its examples by their title."""

    model: str
    label: str
    is_untrained: bool
    examples: dict[str, Example]


def examples_figure(frame: pd.DataFrame, folder: Path) -> Figure | None:
    """A row for each image, a column for the objects and for each model; None where no examples can be read."""
    found = read_examples(frame, folder)
    images = {title: example for column in found for title, example in column.examples.items()}
    chosen = dict(list(images.items())[:MOST_IMAGES])
    return draw_examples(found, chosen) if chosen else None


def read_examples(frame: pd.DataFrame, folder: Path) -> list[Detector]:
    """The best models that have examples of the first data set, with those of each one's newest row.

    Examples whose file is gone or damaged are left out.
    """
    rows = frame[(frame["metric"] == "examples") & frame["artifact"].notna()]
    rows = rows[rows["dataset"] == rows["dataset"].iloc[0]] if len(rows) else rows
    newest = rows.sort_values("created_utc", kind="stable").drop_duplicates("model", keep="last").sort_index()
    precision = {point.model: point.value for point in points_of(frame, "box_ap")}
    newest = newest.iloc[np.argsort([-precision.get(str(name), 0.0) for name in newest["model"]], kind="stable")]
    names, found = labels(frame), list[Detector]()
    for row in newest.to_dict("records"):
        examples = {one.title: one for one in _examples(read_arrays(folder / str(row["artifact"])))}
        if examples and len(found) < MOST_MODELS:
            model = str(row["model"])
            found.append(
                Detector(
                    model=model, label=names[model], is_untrained=is_random(row["weights"]), examples=examples
                )
            )  # fmt: skip
    return found


def _examples(arrays: Mapping[str, Any]) -> Iterator[Example]:
    number = 0
    while f"{number}.image" in arrays:
        own: dict[str, Any] = {field: arrays.get(f"{number}.{field}") for field in (
            "title", "image", "true_boxes", "true_labels", "boxes", "labels", "scores", "masks"
        )}  # fmt: skip
        if all(value is not None for field, value in own.items() if field != "masks"):
            title = printable(str(own.pop("title")))
            yield Example(title=title, classes=tuple(printable(str(name)) for name in arrays["classes"]), **own)
        number += 1


def draw_examples(columns: Sequence[Detector], images: Mapping[str, Example]) -> Figure:
    """The grid of images by detectors; rows are as high as their images are at one width."""
    across = 1 + len(columns)
    width = 0.1 + across * (SIDE + GAP)
    talls = [SIDE * min(example.image.shape[0] / example.image.shape[1], 2.0) for example in images.values()]
    above = TOP + 0.13 * max(text.count("\n") + 1 for text in _headings(columns))
    height = above + sum(talls) + len(talls) * (CAPTION + GAP) + BOTTOM
    colours = _colours(columns)
    note = shorten(NOTE) if width < 6 else NOTE
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        figure.text(0.08 / width, 1 - 0.1 / height, "Detections in example images", fontsize=11, fontweight="bold",
                    va="top")  # fmt: skip
        figure.text(0.08 / width, 0.08 / height, note, fontsize=7, color=MUTED, va="bottom", linespacing=1.25)
        for number, text in enumerate(_headings(columns)):
            x = (0.08 + number * (SIDE + GAP)) / width
            words = figure.text(x, 1 - (above - 0.06) / height, text, fontsize=7.5, va="bottom", linespacing=1.15)
            if number:
                mark(words, columns[number - 1].model)
        top = above
        for (title, example), tall in zip(images.items(), talls, strict=True):
            bottom = (height - top - tall) / height
            for column in range(across):
                place = ((0.08 + column * (SIDE + GAP)) / width, bottom, SIDE / width, tall / height)
                axes = figure.add_axes(place)
                if column == 0:
                    _picture(axes, example.image)
                    _truth(axes, example, colours, named=True)
                    continue
                own = columns[column - 1].examples.get(title)
                if own is None:
                    axes.set_axis_off()
                    axes.text(0.5, 0.5, "not kept", ha="center", va="center", fontsize=7, color=MUTED)
                    continue
                _found(axes, own, colours)
                mark(axes, columns[column - 1].model, _said(columns[column - 1].label, own))
            figure.text(0.08 / width, bottom - 0.03 / height, _short(title), fontsize=6.5, color=MUTED, va="top")
            top += tall + CAPTION + GAP
    return figure


def _headings(columns: Sequence[Detector]) -> list[str]:
    """What stands over each column."""
    return [
        "objects",
        *(_lines(column.label) + ("\n(random init)" if column.is_untrained else "") for column in columns),
    ]


def _lines(label: str) -> str:
    """A label within a panel's width: two lines at most, the middle left out where it is longer."""
    most = int(SIDE * 72 / (0.6 * 7.5))
    if len(label) <= most:
        return label
    if len(label) <= 2 * most:
        break_at = next((place for place in range(most, most // 2, -1) if label[place - 1] in " _:,·-["), most)
        if len(label) - break_at <= most:
            return f"{label[:break_at].rstrip()}\n{label[break_at:].lstrip()}"
    return f"{label[:most]}\n…{label[len(label) - most + 1 :]}"


def _short(title: str) -> str:
    """Both ends of a long title."""
    return title if len(title) <= TITLE else f"{title[: TITLE // 3]}…{title[-(2 * TITLE // 3) :]}"


def _colours(columns: Sequence[Detector]) -> dict[str, str]:
    """Class -> colour, the same in every panel; neighbours in the list of those present differ."""
    present: set[str] = set()
    classes: dict[str, None] = {}
    for column in columns:
        for example in column.examples.values():
            classes |= dict.fromkeys(example.classes)
            present |= {_name(example, label) for label in (*example.true_labels, *example.labels)}
    names = [name for name in classes if name in present]
    names += sorted(present - set(names))
    return {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}


def _name(example: Example, label: int) -> str:
    known = 1 <= label <= len(example.classes)
    return example.classes[int(label) - 1] if known else f"class {int(label)}"


def _picture(axes: Axes, image: NDArray[Any]) -> None:
    axes.imshow(image, interpolation="antialiased", aspect="auto")
    axes.set_xlim(-0.5, image.shape[1] - 0.5)
    axes.set_ylim(image.shape[0] - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _truth(axes: Axes, example: Example, colours: Mapping[str, str], *, named: bool) -> None:
    names = [_name(example, label) for label in example.true_labels]
    for box, name in zip(example.true_boxes, names, strict=True):
        _outline(axes, example, box, colours[name] if named else WHITE, dashed=True)
    if named:
        _words(axes, example, [(box, name, colours[name]) for box, name in zip(example.true_boxes, names, strict=True)])


def _found(axes: Axes, example: Example, colours: Mapping[str, str]) -> None:
    """Masks below boxes below words, the surest on top."""
    order = np.argsort(example.scores, kind="stable")
    names = [_name(example, label) for label in example.labels]
    image = example.image.astype(np.float32) / 255
    for place in order if example.masks is not None else []:
        inside = example.masks[place]  # type: ignore[index]
        image[inside] = (1 - FILL) * image[inside] + FILL * np.array(to_rgb(colours[names[place]]), dtype=np.float32)
    _picture(axes, image)
    _truth(axes, example, colours, named=False)
    for place in order:
        _outline(axes, example, example.boxes[place], colours[names[place]], dashed=False)
    surest = [(example.boxes[place], f"{names[place]} {example.scores[place]:.2f}", colours[names[place]])
              for place in order[::-1][:MOST_LABELS]]  # fmt: skip
    _words(axes, example, surest)
    if not len(order):
        axes.text(
            0.5,
            0.04,
            "no detection",
            transform=axes.transAxes,
            ha="center",
            va="bottom",
            color=BLACK,
            fontsize=LETTERS,
            bbox={"facecolor": WHITE, "edgecolor": "none", "alpha": 0.85, "pad": 1.2},
        )


def _outline(axes: Axes, example: Example, box: NDArray[Any], colour: str, *, dashed: bool) -> None:
    """A box, kept inside the image so that no side of it is cut."""
    height, width = example.image.shape[:2]
    edge = 0.006 * max(height, width)
    left, right = np.clip(box[[0, 2]], edge, width - edge) - 0.5
    top, bottom = np.clip(box[[1, 3]], edge, height - edge) - 0.5
    thick = 0.9 if colour == WHITE else 1.5
    axes.add_patch(
        Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=thick,
                  linestyle=(0, (3, 2)) if dashed else "-", path_effects=THIN, zorder=2 if dashed else 3)
    )  # fmt: skip


def _words(axes: Axes, example: Example, said: Sequence[tuple[NDArray[Any], str, str]]) -> None:
    """Words at boxes, above one another nowhere; those without room are left out, the later first."""
    height, width = example.image.shape[:2]
    pixel = width / (SIDE * 72)  # in a point
    tall, taken = 1.5 * LETTERS * pixel, list[tuple[float, float, float, float]]()
    for box, text, colour in said:
        long = (0.64 * LETTERS * len(text) + 2) * pixel
        for left, top in _places(box, long, tall):
            left, top = min(max(left, 0.0), width - long), min(max(top, 0.0), height - tall)
            place = (left, top, left + long, top + tall)
            if left >= 0 and not any(_meet(place, other) for other in taken):
                taken.append(place)
                axes.text(left + pixel - 0.5, top + tall / 2 - 0.5, text, fontsize=LETTERS, color=text_on(colour),
                          ha="left", va="center_baseline", zorder=5,
                          bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.9})  # fmt: skip
                break


def _places(box: NDArray[Any], long: float, tall: float) -> Iterator[tuple[float, float]]:
    """Left and top of the words: above the box, inside its top, below it, inside its bottom; left or right."""
    left, top, right, bottom = map(float, box)
    for above in (top - tall, top, bottom, bottom - tall):
        yield left, above
        yield right - long, above


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _said(label: str, example: Example) -> str:
    found = [f"{_name(example, one)} {score:.2f}" for one, score in zip(example.labels, example.scores, strict=True)]
    return f"{label}: {', '.join(found[:MOST_LABELS]) or 'no detection'}"
