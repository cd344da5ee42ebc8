"""The section of detection in a report."""

from __future__ import annotations

import pytest

from stmbench.analyses.detection.section import section
from stmbench.analyses.registry import View
from stmbench.reporting.content import Section
from tests.analyses.detection.rows import CLASSES, MIXERS, example


@pytest.fixture(scope="module")
def whole() -> Section:
    """Of four detectors with masks."""
    return section(View(rows=example()))


def test_the_best_detector_and_the_control_lead(whole: Section) -> None:
    lead = whole.lead
    assert lead.startswith("Halo-Attn has the highest box AP of 4: 40.0 % (36.0 to 44.0); its interval overlaps")
    assert lead.endswith(
        "Compared with identity, Halo-Attn and SW-Attn have a higher box AP; the difference of DW-Conv is inconclusive."
    )


def test_every_score_is_in_a_table(whole: Section) -> None:
    tables = {table.name: table for table in whole.tables}
    assert list(tables) == [
        "detection-box-ap", "detection-box-ar", "detection-mask-ap", "detection-mask-ar", "detection-differences",
        "detection-box-classes", "detection-mask-classes",
    ]  # fmt: skip
    for kind in ("box", "mask"):
        assert [len(tables[f"detection-{kind}-{name}"].columns) for name in ("ap", "ar")] == [7, 7]
    assert [cell.text for cell in tables["detection-box-ap"].lines[0].cells] == [
        "Halo-Attn", "40.0", "60.0", "36.0", "20.0", "44.0", "56.0",
    ]  # fmt: skip
    assert len(tables["detection-box-classes"].lines) == len(CLASSES)
    assert tables["detection-box-classes"].folded
    assert len(tables["detection-differences"].lines) == len(MIXERS) - 1


def test_plots_say_whether_they_are_of_boxes_or_of_masks(whole: Section) -> None:
    titles = {plot.name: plot.title for plot in whole.plots}
    assert titles["detection_curves"] == "Precision and recall of boxes"
    assert titles["detection_mask_curves"] == "Precision and recall of masks"
    assert titles["detection_sizes"] == "Box AP by size of object"


def test_untrained_detectors_and_missing_sizes_are_caveats() -> None:
    found = section(View(rows=example(weights="random:0", kinds=("box",), without=("ap_small",))))
    kinds = {caveat.kind: caveat.text for caveat in found.caveats}
    assert found.lead.startswith("4 models have random weights, whose box AP is no result.")
    assert kinds["untrained"].startswith("All models have random weights")
    assert kinds["note"] == "No AP of small objects: the images have none."
    empty = section(View(rows=example()[:0]))
    assert (empty.lead, empty.tables, empty.plots) == ("No box AP was measured.", (), ())
