"""Names beside marks: they cover no whisker, no mark and no other name; else there is a legend."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from stmbench.analyses.profile.figures.against_macs import efficiency, roofline
from stmbench.figures import names
from stmbench.figures.across_analyses import pareto
from stmbench.figures.whiskers import boxes
from stmbench.tables import Row, frame_of
from tests.figures.test_across_analyses import evaluated
from tests.tables.frames import MIXERS, profile_rows, with_attrs

NAMES = {str(facts["abbreviation"]) for facts in MIXERS.values()}


def wide() -> list[Row]:
    """Five models whose throughput has long whiskers."""
    found = []
    for row in profile_rows(raw=False):
        if row.metric in ("throughput", "achieved_macs_per_second") and row.value is not None:
            row = dataclasses.replace(row, ci_low=row.value / 3, ci_high=row.value * 3)
        found.append(row)
    return found


def named(figure: Figure) -> dict[str, Bbox]:
    figure.draw_without_rendering()
    texts = [text for text in figure.axes[0].texts if isinstance(text, Annotation) and text.get_text() in NAMES]
    return {text.get_text(): text.get_window_extent() for text in texts}


@pytest.mark.parametrize("draw", [efficiency, roofline, lambda frame: pareto(frame, "throughput")])
def test_names_cover_no_whisker_and_no_other_name(draw: object) -> None:
    assert callable(draw)
    figure = draw(with_attrs(frame_of([*wide(), *evaluated(half=0.02)])))
    (axes,) = figure.axes
    found = named(figure)
    if not found:  # no free place for one of them
        assert {text.get_text() for text in figure.legends[0].get_texts()} == NAMES
        return
    assert set(found) == NAMES
    frame = axes.get_window_extent()
    for name, box in found.items():
        assert not any(box.overlaps(other) and _area(box, other) > 1 for other in boxes(axes)), name
        assert _area(box, frame) == pytest.approx(box.width * box.height), f"{name} is inside the axes"
    for one, other in itertools.combinations(found.values(), 2):
        assert _area(one, other) < 1


def _area(a: Bbox, b: Bbox) -> float:
    shared = Bbox.intersection(a, b)
    return 0.0 if shared is None else float(shared.width * shared.height)


def test_names_are_beside_where_there_is_room() -> None:
    assert set(named(efficiency(with_attrs(frame_of(profile_rows(raw=False)))))) == NAMES


def test_without_a_free_place_all_are_in_a_legend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "DISTANCES", ())
    figure = efficiency(with_attrs(frame_of(wide())))
    assert not named(figure)
    assert {text.get_text() for text in figure.legends[0].get_texts()} == NAMES
    assert figure.get_figwidth() == names.WITH_LEGEND
