"""Intervals in pictures: how far an axis reaches for them, arrows where it does not, their digits, what is filled."""

from __future__ import annotations

import dataclasses
import math

import pytest

from stmbench.analyses.profile.figures import drawn_or_not
from stmbench.analyses.profile.figures.against_macs import efficiency, roofline
from stmbench.analyses.profile.figures.parts import parts
from stmbench.analyses.profile.figures.speed import latency, ranks, throughput
from stmbench.errors import LeftOutError
from stmbench.figures.plot_data import Point, points
from stmbench.figures.style import canvas
from stmbench.figures.whiskers import CUT, HOLLOW, Span, cut_whiskers, digits, reach, segments, whisker
from stmbench.tables import Row, frame_of
from tests.tables.frames import profile_rows, with_attrs


def point(value: float, low: float, high: float) -> Point:
    rows = [row for row in profile_rows(["dw_conv"], raw=False) if row.metric == "throughput"]
    made = dataclasses.replace(rows[0], value=value, ci_low=low, ci_high=high)
    return points(with_attrs(frame_of([made])), "throughput")[0]


@pytest.mark.parametrize(
    ("spans", "log", "expected"),
    [
        pytest.param([Span(10), Span(20)], False, (10, 20), id="no intervals"),
        pytest.param([Span(10, 9, 11), Span(20, 18, 22)], False, (9, 22), id="all fit"),
        pytest.param([Span(10, 9, 11), Span(20, 18, 22), Span(15, 2, 90)], False, (5, 25), id="one is huge"),
        pytest.param([Span(10, 9, 11), Span(10, -500, 500)], False, (8, 12), id="of two the shorter is the measure"),
        pytest.param([Span(10, 5, 20), Span(10, 5, 20), Span(10, 0, 1000)], True, (2.5, 40), id="logarithms"),
    ],
)
def test_one_huge_interval_does_not_blow_up_the_axis(
    spans: list[Span], log: bool, expected: tuple[float, float]
) -> None:
    assert reach(spans, log=log) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (1845.05, 1292.1, 2868.1, ("1,800", "1,300 to 2,900")),
        (35.108, 8.2128, 260.61, ("35", "8 to 261")),
        (131.02, 130.93, 131.11, ("131.02", "130.93 to 131.11")),
        (0.5012, 0.4988, 0.5035, ("0.5012", "0.4988 to 0.5035")),
    ],
)
def test_two_digits_of_the_interval(value: float, low: float, high: float, expected: tuple[str, str]) -> None:
    assert digits(point(value, low, high), "throughput") == expected


def test_a_value_without_an_interval_has_its_usual_digits() -> None:
    assert digits(point(131.0, math.nan, math.nan), "throughput") == ("131.0", "")


@pytest.mark.parametrize(
    ("across", "low", "high", "arrows"),
    [(True, 9, 11, ""), (True, 9, 99, ">"), (True, -9, 99, "<>"), (False, 9, 99, "^"), (False, -9, 11, "v")],
)
def test_an_arrow_stands_where_a_whisker_is_cut(across: bool, low: float, high: float, arrows: str) -> None:
    with canvas(3) as (_, (axes,)):
        axes.set(xlim=(5, 20), ylim=(5, 20))
        whisker(axes, point(10, low, high), "throughput", (10, 10), across=across)
        assert cut_whiskers(axes) is bool(arrows)
        drawn = [line for line in axes.lines if str(line.get_marker()) in "<>^v" and not line.get_clip_on()]
    assert sorted(str(line.get_marker()) for line in drawn) == sorted(arrows)
    assert len(segments(axes)) == 1


def noisy(*, wide: bool = False, rounds: int | None = None) -> list[Row]:
    """The five models: the fastest with a huge interval, or all timed in few rounds."""
    rows = []
    for row in profile_rows(raw=False):
        if wide and row.metric == "throughput" and row.mixer == "dw_conv":
            assert row.value is not None
            row = dataclasses.replace(row, ci_low=row.value / 20, ci_high=row.value * 20, status="imprecise")
        if rounds is not None and row.metric in ("throughput", "rank_probability"):
            row = dataclasses.replace(row, num_samples=rounds)
        rows.append(row)
    return rows


def test_throughput_says_what_is_cut_and_stands_in_columns() -> None:
    frame = with_attrs(frame_of(noisy(wide=True)))
    (axes,) = throughput(frame).axes
    said = [text.get_text() for text in axes.texts]
    assert CUT in said
    assert "hatched: interval wider than asked for" in said
    value = next(point.value for point in points(frame, "throughput") if point.mixer == "dw_conv")
    assert axes.get_xlim()[1] < 3 * value
    assert sum(" to " in text for text in said) == 5, "an interval for each model, in numbers"


def test_one_huge_interval_of_a_latency_does_not_squash_the_others() -> None:
    rows = profile_rows(raw=False)
    (worst,) = [row for row in rows if (row.metric, row.mixer, row.condition) == ("latency", "dw_conv", "p99")]
    rows[rows.index(worst)] = dataclasses.replace(worst, ci_high=7.5)  # seconds
    (axes,) = latency(with_attrs(frame_of(rows))).axes
    (plain,) = latency(with_attrs(frame_of(profile_rows(raw=False)))).axes
    assert axes.get_xlim()[1] < 2 * plain.get_xlim()[1]
    assert "7,500" in [text.get_text() for text in axes.texts]
    assert (CUT in axes.get_xlabel(), CUT in plain.get_xlabel()) == (True, False)


@pytest.mark.parametrize("draw", [efficiency, roofline])
def test_hollow_means_the_same_and_is_said(draw: object) -> None:
    assert callable(draw)
    (axes,) = draw(with_attrs(frame_of(noisy(wide=True)))).axes
    hollow = [line for line in axes.lines if line.get_markersize() == 8 and line.get_markerfacecolor() == "white"]
    assert len(hollow) == 1
    assert any(text.get_text() == HOLLOW for text in axes.texts)
    (plain,) = draw(with_attrs(frame_of(profile_rows(raw=False)))).axes
    assert not any("hollow" in text.get_text() for text in plain.texts)


@pytest.mark.parametrize("count", [10, 19])
def test_ranks_of_few_rounds_are_left_out_in_words(count: int) -> None:
    figures, sentences = drawn_or_not(with_attrs(frame_of(noisy(rounds=count))))
    assert "ranks" not in figures
    assert [f"of {count} rounds" in sentence for sentence in sentences] == [True]


def test_ranks_say_how_many_rounds() -> None:
    (axes,) = ranks(with_attrs(frame_of(noisy(rounds=43)))).axes
    assert any("N = 43 rounds" in text.get_text() for text in axes.texts)


@pytest.mark.parametrize("draw", [throughput, ranks, efficiency])
def test_one_point_is_no_figure(draw: object) -> None:
    assert callable(draw)
    with pytest.raises(LeftOutError) as caught:
        draw(with_attrs(frame_of(profile_rows(["dw_conv"], raw=False))))
    assert "left out" in caught.value.sentence


def test_parts_are_of_one_image_with_errors_in_words() -> None:
    figure = parts(with_attrs(frame_of(profile_rows(raw=False))))
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert any("time per image" in label for label in labels)
    assert not any(segments(axes) for axes in figure.axes), "no whiskers over thin bars"
    totals = [text.get_text() for text in figure.axes[0].texts if text.get_text()[:1].isdigit()]
    assert len(totals) == 5
