"""Figures of detection, as pure functions of a table and of kept examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from stmbench.analyses.detection.figures import figures
from stmbench.analyses.detection.figures.drawings import COLOURS, FILL, read_examples
from stmbench.analyses.detection.figures.plots import left_out
from stmbench.analyses.registry import View
from stmbench.figures.annotations import marks_in
from stmbench.figures.palette import text_on
from stmbench.figures.plot_data import labels
from tests.analyses.detection.rows import CLASSES, MIXERS, example, with_examples

ALL = {f"detection{kind}_{name}" for kind in ("", "_mask") for name in ("sizes", "curves", "classes")}


@pytest.fixture(scope="module")
def drawn() -> dict[str, Figure]:
    """Of four detectors with masks."""
    return figures(View(rows=example()))


def test_every_figure_of_boxes_and_of_masks(drawn: dict[str, Figure]) -> None:
    assert set(drawn) == {*ALL, "detection_ap"}
    boxes = {name for name in ALL if "mask" not in name}
    assert set(figures(View(rows=example(kinds=("box",))))) == {*boxes, "detection_ap"}
    assert figures(View(rows=example()[:0])) == {}


def test_precision_best_first_with_differences_to_the_control(drawn: dict[str, Figure]) -> None:
    panels = drawn["detection_ap"].axes
    assert [axes.get_xlabel().replace("\n", " ") for axes in panels] == [
        "box AP, %", "box AP minus that of identity, points", "mask AP, %", "mask AP minus that of identity, points",
    ]  # fmt: skip
    assert [tick.get_text() for tick in panels[0].get_yticklabels()] == ["Halo-Attn", "SW-Attn", "DW-Conv", "identity"]
    dots = [float(line.get_xdata()[0]) for line in panels[0].lines if line.get_markersize() == 7]
    assert dots == pytest.approx([40, 35, 30, 25])
    gains = [float(line.get_xdata()[0]) for line in panels[1].lines if line.get_markersize() == 7]
    assert gains == pytest.approx([15, 10, 5])


def test_a_size_without_objects_is_left_out_and_named() -> None:
    frame = example(kinds=("box",), without=("ap_large",))
    (axes,) = figures(View(rows=frame))["detection_sizes"].axes
    assert [tick.get_text().split("\n")[0] for tick in axes.get_xticklabels()] == ["small", "medium"]
    assert left_out(frame) == ["No AP of large objects: the images have none."]
    assert left_out(example()) == []


def test_curves_have_a_panel_for_each_overlap_and_end_at_the_last_recall(drawn: dict[str, Figure]) -> None:
    fifty, seventy_five = drawn["detection_curves"].axes
    assert (fifty.get_title("left"), seventy_five.get_title("left")) == ("IoU ≥ 0.5", "IoU ≥ 0.75")
    for axes, end in ((fifty, 80), (seventy_five, 40)):
        lines = [line for line in axes.lines if len(line.get_xdata())]
        assert len(lines) == len(MIXERS)
        assert [float(line.get_xdata()[-1]) for line in lines] == pytest.approx([end] * 4)
        assert [float(line.get_ydata()[0]) for line in lines] == pytest.approx([100] * 4)
    text = next(iter(marks_in(fifty.figure).values())).text
    assert text.endswith("AP at IoU ≥ 0.5 40.1 %")  # the sum of 1 - r / 0.8 over 101 recalls


def test_classes_in_which_models_differ_most_are_first(drawn: dict[str, Figure]) -> None:
    (axes,) = drawn["detection_classes"].axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["star", "ring", "disc"]
    cells = [text.get_text() for text in axes.texts]
    assert cells[:4] == ["48.0", "42.0", "36.0", "30.0"]  # best model first
    classes = tuple(f"class {place}" for place in range(25))
    many = figures(View(rows=example(mixers=("dw_conv", "sw_attn"), kinds=("box",), classes=classes)))[
        "detection_classes"
    ]
    assert len(many.axes[0].get_yticks()) == 20
    assert many.axes[0].get_xlabel().startswith("20 of 25 classes, by how much models differ")


def test_one_model_has_no_figure_of_one_point() -> None:
    frame = example(mixers=("dw_conv",), kinds=("box",))
    assert set(figures(View(rows=frame))) == {
        "detection_sizes", "detection_curves",
    }  # fmt: skip
    assert left_out(frame) == [
        "No figure of average precision: it would hold one point; the table has its value.",
        "No figure of AP by class: it would hold 3 cells; the table has the values.",
    ]


def test_examples_have_a_row_for_each_image_and_columns_of_objects_and_models(tmp_path: Path) -> None:
    frame = with_examples(example(mixers=("dw_conv", "halo_attn"), kinds=("box",)), tmp_path)
    figure = figures(View(rows=frame, folder=tmp_path))["detection_examples"]
    assert len(figure.axes) == 2 * 3
    said = [text.get_text() for text in figure.texts]
    assert {"objects", "Halo-Attn", "DW-Conv", "000000.png", "000001.png"} <= set(said)
    assert said.index("Halo-Attn") < said.index("DW-Conv")  # the better one first
    truth, first = figure.axes[0], figure.axes[1]
    assert [text.get_text() for text in truth.texts] == ["ring"]
    assert [text.get_text() for text in first.texts] == ["ring 0.88"]
    assert [text.get_text() for text in figure.axes[4].texts] == ["no detection"]
    (dashed,) = (patch for patch in truth.patches if isinstance(patch, Rectangle))
    assert dashed.get_linestyle() not in ("-", "solid")
    assert (dashed.get_x() + 0.5, dashed.get_width()) == pytest.approx((10, 20))
    pixels = np.asarray(first.images[0].get_array())
    assert np.allclose(pixels[0, 0], 128 / 255)
    assert not np.allclose(pixels[15, 20], 128 / 255)  # inside the mask
    assert FILL < 0.5


def test_words_at_boxes_stay_inside_the_image_and_off_one_another(tmp_path: Path) -> None:
    frame = with_examples(example(mixers=("dw_conv",), kinds=("box",)), tmp_path, masks=False)
    file = tmp_path / "0.examples.npz"
    with np.load(file) as arrays:
        changed = {name: arrays[name] for name in arrays.files}
    corners = [[0, 0, 20, 9], [1, 0, 20, 9], [50, 0, 60, 9], [0, 32, 20, 40], [50, 31, 60, 40]]
    changed["0.boxes"] = np.array(corners, np.float32)
    changed["0.labels"], changed["0.scores"] = np.array([1, 2, 3, 9, 1]), np.linspace(0.9, 0.5, 5, dtype=np.float32)
    np.savez(file, **changed)
    figure = figures(View(rows=frame, folder=tmp_path))["detection_examples"]
    figure.draw_without_rendering()
    axes = figure.axes[1]
    frame_of_image = axes.get_window_extent()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) >= 4
    assert "class 9 0.60" in [text.get_text() for text in axes.texts]
    for place, box in enumerate(boxes):
        assert box.x0 >= frame_of_image.x0 - 1
        assert box.x1 <= frame_of_image.x1 + 1
        assert not any(box.overlaps(other) for other in boxes[:place])


def test_examples_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    frame = with_examples(example(mixers=("dw_conv", "halo_attn"), kinds=("box",)), tmp_path)
    (tmp_path / "1.examples.npz").write_bytes(b"PK")
    assert [column.label for column in read_examples(frame, tmp_path)] == ["DW-Conv"]
    (tmp_path / "0.examples.npz").unlink()
    assert "detection_examples" not in figures(View(rows=frame, folder=tmp_path))
    assert read_examples(frame[:0], tmp_path) == []


def test_colours_of_classes_can_carry_words() -> None:
    assert len(CLASSES) <= len(set(COLOURS)) == len(COLOURS)
    assert {text_on(colour) for colour in COLOURS} == {"#010101"}


def test_detectors_of_several_kinds_are_named() -> None:
    one = example(mixers=("dw_conv",))
    other = one.assign(model="fasterrcnn:unified_dw_conv_nano")
    plain = one.assign(model="unified_dw_conv_nano")
    assert list(labels(pd.concat([one, other])).values()) == ["maskrcnn:DW-Conv", "fasterrcnn:DW-Conv"]
    assert list(labels(pd.concat([one, plain])).values()) == ["maskrcnn:DW-Conv", "DW-Conv"]
    foreign = one.assign(model="maskrcnn:timm:resnet50")
    assert list(labels(pd.concat([one, foreign])).values()) == ["DW-Conv", "timm:resnet50"]


def test_detectors_that_find_nothing_have_no_curves_of_zeros() -> None:
    frame = example(kinds=("box",), mixers=("dw_conv", "sw_attn"), weights="random:0").assign(value=0.0)
    frame["ci_low"] = frame["ci_high"] = 0.0
    drawn = figures(View(rows=frame))
    assert set(drawn) == {"detection_ap"}
    assert left_out(frame) == ["No figure of AP by size, by class and over recall: every AP50 is 0."]
    assert all("random init" in tick.get_text() for tick in drawn["detection_ap"].axes[0].get_yticklabels())


def test_random_weights_are_said_so_in_every_figure() -> None:
    frame = example(kinds=("box",), mixers=("dw_conv", "sw_attn"), weights="random:0")
    drawn = figures(View(rows=frame))
    words = {name: [text.get_text() for text in figure.findobj(Text)] for name, figure in drawn.items()}
    assert len(words) == 4
    for said in words.values():
        assert sum("(random init)" in text.replace("\n", " ") for text in said) >= 2
