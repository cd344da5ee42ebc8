"""Curves of several models: trainings joined, names apart, differences to a control."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.text import Text
from matplotlib.transforms import Bbox, TransformedBbox

from stmbench.figures.annotations import marks_in
from stmbench.figures.curves import End, join_trainings, name_ends, set_share_axis, share_limits, spread
from stmbench.figures.differences import differences, draw_differences
from stmbench.figures.palette import style_of
from stmbench.figures.plot_data import points
from stmbench.tables import Row, frame_of
from tests.figures.small_panels import boxes_of, greys_of, lines_in
from tests.tables.frames import WHEN, with_attrs

IDENTITY, DW, SR = (f"unified_{mixer}_nano" for mixer in ("identity", "dw_conv", "sr_attn"))


def row(mixer: str, metric: str, value: float, *, spread: float = 0.02, **changes: Any) -> Row:
    known: dict[str, Any] = {
        "run_id": "r", "created_utc": WHEN, "kind": "summary", "analysis": "robustness", "scale": "nano",
        "definition": "stmbench.fgsm.v1", "architecture": "unified", "seed": 0, "weights": "digits.e2.s0:12ab",
        "dataset": "digits:abc", "num_images": 50, "unit": "1", "dtype": "fp32", "device": "cpu", "num_samples": 50,
        "ci_low": value - spread, "ci_high": value + spread, "level": 0.1,
    }  # fmt: skip
    own = {"model": f"unified_{mixer}_nano", "mixer": mixer, "metric": metric, "value": value}
    return Row(**{**known, **own, **changes})


def table(*rows: Row) -> pd.DataFrame:
    return with_attrs(frame_of(list(rows)))


def accuracies(**changes: Any) -> list[Row]:
    return [row(mixer, "accuracy", 0.5, **changes) for mixer in ("identity", "dw_conv", "sr_attn")]


def test_trainings_of_a_model_become_one_point_over_all_their_intervals() -> None:
    second = {"weights": "digits.e2.s1:34cd"}
    frame = table(row("dw_conv", "accuracy", 0.6), row("dw_conv", "accuracy", 0.7, **second),
                  row("dw_conv", "accuracy", 0.1, weights="random:0"), row("sr_attn", "accuracy", 0.9))  # fmt: skip
    trained, untrained, other = join_trainings(points(frame, "accuracy"))
    assert (trained.label, untrained.label, other.label) == ("DW-Conv · digits.e2", "DW-Conv · random init", "SR-Attn")
    assert (trained.value, trained.low, trained.high) == pytest.approx((0.65, 0.58, 0.72))
    assert (trained.trainings, untrained.trainings, other.trainings) == (2, 1, 1)


def test_differences_are_to_the_model_without_mixing_whichever_way_the_rows_are() -> None:
    pairs = [
        row("identity", "accuracy_difference", 0.1, spread=0.03, baseline=DW),
        row("sr_attn", "accuracy_difference", 0.05, baseline=IDENTITY),
        row("sr_attn", "accuracy_difference", 0.15, baseline=DW),
    ]
    found = differences(table(*accuracies(), *pairs), "accuracy")
    assert found is not None
    assert found.control.model == IDENTITY
    values = {point.model: (point.value, point.low, point.high) for point in found.points}
    assert values == {DW: pytest.approx((-0.1, -0.13, -0.07)), SR: pytest.approx((0.05, 0.03, 0.07))}
    assert {point.name for point in found.points} == {"DW-Conv", "SR-Attn"}
    assert differences(table(*accuracies()), "accuracy") is None


def test_a_control_that_all_are_compared_with_is_kept() -> None:
    pairs = [row(mixer, "accuracy_difference", 0.1, baseline=DW) for mixer in ("identity", "sr_attn")]
    found = differences(table(*accuracies(), *pairs), "accuracy")
    assert found is not None
    assert (found.control.model, len(found.points)) == (DW, 2)


def test_each_panel_has_one_model_in_colour_the_others_in_grey() -> None:
    pairs = [
        row(mixer, "accuracy_difference", value, baseline=IDENTITY, level=level)
        for mixer, value in (("dw_conv", -0.1), ("sr_attn", 0.01))
        for level in (0.1, 0.2)
    ]
    found = differences(table(*accuracies(), *pairs), "accuracy")
    assert found is not None
    figure = draw_differences({"accuracy": found.points}, "Identity", title="T", words="w", xlabel="x")
    figure.canvas.draw()
    said = [text.get_text() for text in figure.texts]
    said = [words for words in said if re.search(r"Attn|Conv|[+−]\d+[.]\d", words)]
    assert said == ["−10.0", "DW-Conv", "+1.0", "SR-Attn"]
    lines = lines_in(figure)
    curves = [line for line in lines if line.get_linewidth() == 1.4]
    assert [list(line.get_ydata()) for line in curves] == [pytest.approx([-10, -10]), pytest.approx([1, 1])]
    dots = [line for line in lines if line.get_linestyle() == "None"]
    assert [(line.get_markerfacecolor(), len(line.get_xdata())) for line in dots] == [
        (found.points[0].style.colour, 2), ("white", 2),  # the second's intervals hold 0
    ]  # fmt: skip
    bands = [artist.get_xy()[:, 1] for artist in figure.artists if isinstance(artist, Polygon)]
    assert [(band.min(), band.max()) for band in bands] == [pytest.approx((-12, -8)), pytest.approx((-1, 3))]
    first, second = boxes_of(figure)
    one, other = greys_of(figure)  # SR-Attn's in the panel of DW-Conv, and the other way round
    assert first.count_contains([one.min, one.max]) == second.count_contains([other.min, other.max]) == 2
    assert other.height == one.height == 0
    assert (one.y0 - first.y0) - (other.y0 - second.y0) == pytest.approx(11 / 17.4 * first.height), (
        "from -12 to 3, and room"
    )
    assert {mark.model for mark in marks_in(figure).values()} == {DW, SR}


def test_many_models_are_wrapped_in_blocks_of_facets() -> None:
    mixers = [f"m{number}" for number in range(8)]
    rows = [row(mixer, "accuracy", 0.5) for mixer in ("identity", *mixers)]
    rows += [row(mixer, "accuracy_difference", 0.1, baseline=IDENTITY) for mixer in mixers]
    found = differences(table(*rows), "accuracy")
    assert found is not None
    figure = draw_differences(dict.fromkeys("ab", found.points), "Identity", title="T", words="w", xlabel="x")
    assert len(boxes_of(figure)) == 16
    assert len(greys_of(figure)) == 2 * 8 * 7
    heads = [text.get_text() for text in figure.texts if text.get_text() in "ab"]
    assert heads == ["a", "b"]


@pytest.mark.parametrize("count", [2, 8])
def test_no_words_of_panels_lie_on_panels_or_on_each_other(count: int) -> None:
    mixers = [f"mixer_of_a_name_that_takes_two_lines_of_a_panel_{number}" for number in range(count)]
    rows = [row(mixer, "accuracy", 0.5) for mixer in ("identity", *mixers)]
    rows += [row(mixer, "accuracy_difference", 0.1, baseline=IDENTITY, level=level)
             for mixer in mixers for level in (1.0, 2.0)]  # fmt: skip
    found = differences(table(*rows), "accuracy")
    assert found is not None
    figure = draw_differences(dict.fromkeys("ab", found.points), "Identity", title="T", words="w", xlabel="x")
    figure.canvas.draw()
    shown = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    words = [text.get_window_extent() for text in shown if not re.fullmatch(r"[+.\d]+", text.get_text())]
    # the tails of letters reach the edge
    boxes = [TransformedBbox(box, figure.dpi_scale_trans).padded(-1) for box in boxes_of(figure)]
    for number, one in enumerate(words):
        assert not any(overlap(one, other) for other in [*boxes, *words[number + 1 :]])


def overlap(one: Bbox, other: Bbox) -> bool:
    return Bbox.intersection(one, other) is not None


def test_names_keep_apart() -> None:
    assert spread([0, 50, 20], 10) == [0, 50, 20]
    found = spread([5, 5, 5, 40], 10)
    assert found == pytest.approx([-5, 5, 15, 40])
    assert spread([0, 9, 18], 10) == pytest.approx([-1, 9, 19])


@pytest.mark.parametrize("count", [3, 12])
def test_names_stand_at_the_ends_of_lines_or_in_a_legend(count: int) -> None:
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    ends = [End(1.0, 1.0, f"name {number}", f"m{number}", style_of("dw_conv", {})) for number in range(count)]
    axes.plot([0, 1], [0, 1])
    name_ends(figure, axes, ends)
    figure.canvas.draw()
    names = [text for text in axes.texts if text.get_text()]
    assert len(names) == (3 if count == 3 else 0)
    assert len(figure.legends) == (0 if count == 3 else 1)
    boxes = sorted((name.get_window_extent() for name in names), key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 + 1.5 for below, above in itertools.pairwise(boxes))
    assert all(box.x1 <= figure.bbox.x1 for box in boxes)


def test_an_axis_of_shares_fits_the_values_and_never_magnifies_noise() -> None:
    assert share_limits([80, 90]) == pytest.approx((79.2, 90.8))
    low, high = share_limits([99.4, 99.4])
    assert high - low > 2
    axes = Figure().subplots()
    set_share_axis(axes, *share_limits([97, 100]), ends=(0, 100))
    assert axes.get_ylim()[1] > 100
    assert max(axes.get_yticks()) == 100
