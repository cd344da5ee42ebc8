"""The audit: the counter against the formulas, exactly, at the design size and at another.

The mixers of the papers' networks at every scale, every other at the smallest and at tiny. A formula knows scales by
their widths alone, and each mixer is counted alone at the widest, too.
"""

from __future__ import annotations

from typing import Any

import pytest

from stmbench.measure.counting import Counts, count
from stmbench.mixers.base import MIXERS, SCALES
from tests.measure.counting.models import MIXERS as PUBLISHED
from tests.measure.counting.models import counted, without_numbers

DESIGN = {"nano": (32, 32)}
OTHERS = {"nano": (48, 80)}
CASES = [
    (mixer, scale)
    for mixer in MIXERS
    for scale in SCALES
    if scale == "nano" or mixer in PUBLISHED or (scale == "tiny" and scale in MIXERS.get(mixer).presets)
]
ELSEWHERE = [(mixer, scale) for mixer, scale in CASES if scale == "nano" or mixer in PUBLISHED]


def _assert_agreement(model: Any, counts: Counts, height: int, width: int) -> None:
    assert counts.traced_on == "meta"
    formulas = model.macs(height, width)
    assert {part: counts.parts[part].macs for part in formulas} == formulas
    assert counts.macs == sum(formulas.values())  # and no other part has any
    maps = model.config.maps(height, width)
    expected = {path: module.macs(*maps[site.stage]) for site, path, module in model.mixers()}
    assert {path: counts.under(path).macs for path in expected} == expected
    assert sum(tally.params for tally in counts.parts.values()) == counts.params


@pytest.mark.parametrize(("mixer", "scale"), CASES)
def test_counter_and_formulas_agree_at_the_design_size(mixer: str, scale: str) -> None:
    size = DESIGN.get(scale, (224, 224))
    _assert_agreement(without_numbers(mixer, scale), counted(mixer, scale, *size), *size)


@pytest.mark.parametrize(("mixer", "scale"), ELSEWHERE)
def test_counter_and_formulas_agree_at_another_size(mixer: str, scale: str) -> None:
    depths = (2, 2, 2, 2)  # what differs between blocks differs between the first two
    model = without_numbers(mixer, scale, depths=depths)
    size = OTHERS.get(scale, (224, 320))
    _assert_agreement(model, counted(mixer, scale, *size, depths=depths), *size)


@pytest.mark.parametrize("mixer", list(MIXERS))
@pytest.mark.parametrize(("scale", "height", "width"), [("nano", 64, 48), ("base", 224, 320)])
def test_mixer_alone_equals_its_formula(mixer: str, scale: str, height: int, width: int) -> None:
    model = without_numbers(mixer, scale)
    maps = model.config.maps(height, width)
    for site, path, module in model.mixers():
        if site.block < 2:  # shifts and halos may differ between even and odd blocks
            rows, columns = maps[site.stage]
            assert count(module, (rows, columns, site.dim)).macs == module.macs(rows, columns), path
