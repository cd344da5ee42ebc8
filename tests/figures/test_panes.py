"""Panes: their coordinates, images that stay apart, and places that a file cut to its content keeps."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator

from stmbench.figures.annotations import mark
from stmbench.figures.panes import draw_axes, numbers, of_pixels
from stmbench.figures.style import HEAT
from stmbench.reporting.formats.svg import inline


def test_pixels_are_counted_from_the_upper_left_corner() -> None:
    pane = of_pixels(Figure(figsize=(4, 3)), (1.0, 0.5, 2.0, 2.0), (4, 8))
    assert pane.at(-0.5, -0.5) == pytest.approx((1.0, 2.5))
    assert pane.at(7.5, 3.5) == pytest.approx((3.0, 0.5))
    assert pane.at(3.5, 1.5) == pytest.approx((2.0, 1.5))


def test_images_of_two_models_stay_two_in_a_file() -> None:
    figure = Figure(figsize=(4, 2))
    for number in range(2):
        pane = of_pixels(figure, (0.1 + 2 * number, 0.1, 1.0, 1.0), (2, 2))
        mark([pane.fill(np.eye(2), HEAT), pane.frame()], f"m{number}", f"says {number}")
    page = inline(figure, "f", title="T", description="D")
    images = re.findall(r'<image [^>]*data-model="(m\d)"[^>]*><title>(says \d)</title>', page)
    assert images == [("m0", "says 0"), ("m1", "says 1")]


@pytest.mark.parametrize("cut", [None, "tight"])
def test_what_is_in_a_pane_lies_on_its_picture_however_the_file_is_cut(cut: str | None) -> None:
    figure = Figure(figsize=(3, 2), dpi=100)
    pane = of_pixels(figure, (1.0, 0.5, 1.0, 1.0), (4, 4))
    pane.fill(np.zeros((4, 4)), "gray")
    pane.add(Rectangle((0.5, 0.5), 2, 2, facecolor="red", linewidth=0))
    saved = io.BytesIO()
    figure.savefig(saved, format="rgba", bbox_inches=cut, pad_inches=0)
    pixels = np.frombuffer(saved.getvalue(), np.uint8).reshape(-1, 100 if cut else 300, 4)
    black, red = ((pixels[..., 0] == value) & (pixels[..., 1] == 0) for value in (0, 255))
    assert black.sum() == pytest.approx(7500, rel=0.03)
    assert red.sum() == pytest.approx(2500, rel=0.03)
    middles = [np.argwhere(found).mean(0) for found in (black, red)]
    assert middles[0] == pytest.approx(middles[1], abs=1)


@pytest.mark.parametrize("limits", [(-12.1, 3.3), (0.094, 0.224), (0, 8)])
def test_numbers_are_those_of_an_axes(limits: tuple[float, float]) -> None:
    figure, locator = Figure(), MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
    axes = figure.subplots()
    axes.xaxis.set_major_locator(locator)
    axes.set_xlim(*limits)
    figure.draw_without_rendering()
    ticks = [(tick.get_loc(), tick.label1.get_text()) for tick in axes.xaxis.get_major_ticks()]
    assert list(numbers(locator, limits).items()) == [tick for tick in ticks if limits[0] <= tick[0] <= limits[1]]


def test_numbers_of_any_size_say_all_of_themselves() -> None:
    for places, words in (((1e6, 2e6), ["1000000", "2000000"]), ((1e5, 1e5 + 1), ["100000", "100001"])):
        assert list(numbers(FixedLocator(places), (places[0] - 0.5, places[1] + 0.5)).values()) == words


def test_no_ticks_are_no_lines() -> None:
    figure = Figure(figsize=(3, 2))
    pane = of_pixels(figure, (1, 0.5, 1, 1), (2, 2))
    draw_axes([pane], {}, {}, lowest=[pane], first=[pane])
    figure.draw_without_rendering()
    points = [np.asarray(line.get_xydata()) for line in figure.findobj(Line2D)]
    assert sorted(np.isfinite(found).all(1).sum() for found in points) == [0, 0, 3], "the edges alone"
