"""Models under self-distillation against the same models under labels, from made-up rows."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from stmbench.analyses.probe.figures import figures
from stmbench.analyses.probe.figures.rankings import rankings_of
from stmbench.analyses.probe.section import section
from stmbench.analyses.registry import View
from stmbench.figures.annotations import marks_in
from tests.analyses.probe.test_views import probe_rows, view_of

LABELS = {"sw_attn": 0.9, "dw_conv": 0.8, "pooling": 0.7, "sr_attn": 0.6, "identity": 0.5}


def _both(distilled: Mapping[str, float], *, seeds: int = 2, recipe: str = "digits.dino.e20") -> View:
    rows = []
    for name, each in (("digits.e12", LABELS), (recipe, distilled)):
        for mixer, value in each.items():
            for seed in range(seeds):
                rows += probe_rows(mixer, f"{name}.s{seed}:{mixer}", value + 0.01 * seed)
    rows += probe_rows("sw_attn", "random:0", 0.3)
    return view_of(rows)


def test_pairs_are_models_with_both_trainings() -> None:
    view = _both({mixer: value / 2 for mixer, value in LABELS.items() if mixer != "identity"})
    found = rankings_of(view.rows)
    assert found is not None
    assert (found.labelled, found.distilled, found.k) == ("digits.e12", "digits.dino.e20", 20)
    assert [one.labelled.mixer for one in found.models] == ["sw_attn", "dw_conv", "pooling", "sr_attn"]
    assert [one.labelled.value for one in found.models] == pytest.approx([0.905, 0.805, 0.705, 0.605])
    assert found.models[0].distilled_each == pytest.approx((0.45, 0.46))
    assert found.correlation[:2] == pytest.approx((1, 1))
    assert found.sentence.startswith("Self-distillation and labels rank the models alike to some degree: Spearman's ρ")


def test_ranks_and_what_is_said_of_opposite_and_of_inconclusive_orders() -> None:
    opposite = rankings_of(_both({mixer: 1 - value for mixer, value in LABELS.items()}).rows)
    assert opposite is not None
    assert opposite.ranks == [(1, 5), (2, 4), (3, 3), (4, 2), (5, 1)]
    assert "in opposite orders: Spearman's ρ over 5 models is \N{MINUS SIGN}1.00" in opposite.sentence
    mixed = dict(zip(LABELS, (0.6, 0.8, 0.6, 0.9, 0.6), strict=True))
    unclear = rankings_of(_both(mixed).rows)
    assert unclear is not None
    assert unclear.correlation[0] == pytest.approx(-0.1118034)
    assert "is inconclusive" in unclear.sentence
    assert [second for _, second in unclear.ranks] == [4, 2, 4, 1, 4]
    same = rankings_of(_both(dict.fromkeys(LABELS, 0.5)).rows)
    assert same is not None
    assert "5 models have no ranking" in same.sentence


def test_three_models_or_one_way_are_no_comparison() -> None:
    assert rankings_of(_both(dict.fromkeys(list(LABELS)[:3], 0.5)).rows) is None
    assert rankings_of(_both(LABELS, recipe="digits.e20").rows) is None
    assert "probe_rankings" not in figures(_both(LABELS, recipe="digits.e20"))


def test_the_figure_and_the_section() -> None:
    view = _both({mixer: value / 2 for mixer, value in LABELS.items()})
    figure = figures(view)["probe_rankings"]
    (axes,) = figure.axes
    assert axes.get_ylabel() == "kNN accuracy under DINO (k = 20), %"
    assert figure.get_supxlabel().startswith("Spearman's ρ 1.00 (95 %: ")
    assert figure.get_supxlabel().endswith("trainings of each: 2 with labels, 2 without")
    said = {mark.text for mark in marks_in(figure).values()}
    assert "SW-Attn: 90.5 % under labels, 45.5 % under self-distillation" in said
    made = section(view)
    table = made.tables[-1]
    assert [cell.text for cell in table.lines[0].cells] == ["SW-Attn", "90.5", "1", "45.5", "1"]
    assert "means over trainings of digits.e12 and digits.dino.e20" in table.note
    assert made.lead.endswith("over 5 models is 1.00 (95 %: 1.00 to 1.00).")


def test_one_model_far_behind_leaves_the_others_apart() -> None:
    near = _both({"sw_attn": 0.96, "dw_conv": 0.95, "pooling": 0.5, "sr_attn": 0.94, "identity": 0.93}, seeds=1)
    (axes,) = figures(near)["probe_rankings"].axes
    assert axes.get_yscale() == "function"
    low, half, high = axes.transData.transform([(80, 50), (80, 90), (80, 96)])[:, 1]
    assert (high - half) / (half - low) == pytest.approx(math.log(10 / 4) / math.log(50 / 10))
    assert axes.get_xscale() == "linear"
