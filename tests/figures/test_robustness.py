"""The figure of what is left under attack: every model at every eps, its interval, its doubts and its weights."""

from __future__ import annotations

import dataclasses
import warnings

import pytest
from matplotlib.figure import Figure

from stmbench.analyses.robustness.figures import attack_words, eps_words, left_out, robustness_figures
from stmbench.analyses.robustness.section import robustness_section
from stmbench.tables import Row
from tests.figures.small_panels import boxes_of, lines_in
from tests.tables.robustness_frames import EPS, FGSM, PGD, attacked, frame, of_five

TRAINED = "weights.pth:0123456789ab"
LONG = "timm:a_model_with_an_uncommonly_long_name_$_{x}_&_<b>"
TABLES = {
    "five": of_five(),
    "two attacks": [*of_five(), *of_five(definition=PGD)],
    "two at one eps": [row for mixer in ("dw_conv", "sr_attn") for row in attacked(mixer) if row.level == EPS[-1]],
    "no intervals": [dataclasses.replace(row, ci_low=None, ci_high=None) for row in of_five()],
    "long names": attacked(model=LONG, mixer=None, scale=None),
    "one with two weights": [*attacked(), *attacked(weights=TRAINED)],
    "all but none left": of_five(value=0.0, ci_low=0.0, ci_high=0.02),
}


def _drawn(rows: list[Row]) -> dict[str, Figure]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = robustness_figures(frame(rows))
        for figure in figures.values():
            figure.canvas.draw()
    return figures


def _names(figure: Figure) -> list[str]:
    """Those in the legend and those at the ends of lines."""
    found = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return [*found, *(text.get_text() for axes in figure.axes for text in axes.texts if text.get_text())]


def _texts(figure: Figure) -> str:
    return "\n".join([*_names(figure), *(axes.get_title(loc="left") for axes in figure.axes), figure.get_supxlabel()])


@pytest.mark.parametrize("rows", TABLES.values(), ids=TABLES.keys())
def test_it_is_drawn_without_a_warning(rows: list[Row]) -> None:
    (figure,) = _drawn(rows).values()
    assert len(set(_names(figure))) == len({(row.model, row.weights) for row in rows})


def test_one_point_is_left_out_and_the_section_says_so() -> None:
    table = frame([row for row in attacked() if row.level == EPS[-1]])
    assert robustness_figures(table) == {}
    assert any("No figure of accuracy" in caveat.text for caveat in robustness_section(table, table).caveats)
    assert left_out(frame(of_five())) == []


def test_differences_come_first_and_seeds_are_joined() -> None:
    seeds = [f"digits.e2.s{seed}:{seed}ab" for seed in range(2)]
    rows = [row for label in seeds for mixer in ("dw_conv", "sr_attn") for row in attacked(mixer, weights=label)]
    control = next(row.model for row in rows if row.mixer == "dw_conv")
    pairs = [
        dataclasses.replace(
            row, metric="accuracy_difference", baseline=control, value=value, ci_low=-0.2, ci_high=-0.01
        )
        for row, value in zip([row for row in rows if row.mixer == "sr_attn"], [-0.1] * 4 + [-0.12] * 4, strict=True)
    ]
    differences, curves = _drawn([*rows, *pairs]).values()
    assert len(boxes_of(differences)) == 1
    (line,) = [line for line in lines_in(differences) if line.get_linewidth() == 1.4]
    assert list(line.get_ydata()) == pytest.approx([-11] * 4)
    ticks = [text.get_text() for text in differences.texts if text.get_text().endswith(("clean", "/255"))]
    assert ticks == ["clean", "0.5/255", "2/255", "8/255"]
    assert sorted(_names(curves)) == ["DW-Conv", "SR-Attn"]
    assert "2 trainings each" in curves.get_supxlabel()


def test_values_and_whiskers_are_those_of_the_table() -> None:
    rows = attacked()
    (figure,) = _drawn(rows).values()
    (axes,) = figure.axes
    line = next(line for line in axes.lines if len(line.get_xdata()) == 4)
    assert list(line.get_ydata()) == [pytest.approx(100 * (row.value or 0)) for row in rows]
    bars = [segment for bar in axes.containers for segment in bar.lines[2][0].get_segments()]
    assert [tuple(bar[:, 1]) for bar in bars] == [
        (pytest.approx(100 * (row.ci_low or 0)), pytest.approx(100 * (row.ci_high or 0))) for row in rows
    ]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["clean", "0.5/255", "2/255", "8/255"]


def test_random_weights_are_said_of_all_or_of_each() -> None:
    (figure,) = _drawn(of_five()).values()
    assert "random init" in _texts(figure)
    assert "(random init)" not in _texts(figure)
    (figure,) = _drawn([*attacked(), *attacked("sr_attn", weights=TRAINED)]).values()
    assert "DW-Conv (random init)" in _texts(figure)
    assert "SR-Attn (random init)" not in _texts(figure)
    (figure,) = _drawn(of_five(weights=TRAINED)).values()
    assert "random init" not in _texts(figure)


def test_hollow_marks_are_explained_where_there_are_any() -> None:
    (figure,) = _drawn(of_five()).values()
    assert "breaks a check" not in _texts(figure)
    (figure,) = _drawn([*attacked(status="suspect", reason="..."), *attacked("sr_attn")]).values()
    assert "breaks a check" in _texts(figure)
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert len(hollow) == 4


def test_own_predictions_are_said() -> None:
    figures = _drawn(of_five(metric="consistency", definition="stmbench.fgsm.own_prediction.v1"))
    assert list(figures) == ["robustness_consistency"]
    assert "own predictions attacked" in _texts(figures["robustness_consistency"])


def test_several_scales_have_a_panel_each() -> None:
    rows = [*of_five(scale="micro"), *of_five(scale="tiny"), *attacked(model="timm:resnet18", mixer=None, scale=None)]
    figures = _drawn([*rows, *of_five(scale="micro", definition=PGD), *of_five(scale="tiny", definition=PGD)])
    assert list(figures) == ["robustness_accuracy_fgsm", "robustness_accuracy_pgd_10__torchattacks"]
    figure = figures["robustness_accuracy_fgsm"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["micro", "tiny"]
    assert set(_names(figure)) == {"Halo-Attn", "SR-Attn", "SW-Attn", "DW-Conv", "DCNv3", "timm:resnet18"}


def test_a_table_without_it_has_no_figure() -> None:
    assert robustness_figures(frame(attacked(analysis="eval"))) == {}


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        (FGSM, "FGSM"),
        (PGD, "PGD-10 (torchattacks)"),
        ("torchattacks.apgd20.own_prediction.v3.5.1", "Auto-PGD-20 (torchattacks)"),
        ("mistaken.fgsm_normalised.v1", "FGSM on normalised input (mistaken)"),
    ],
)
def test_attacks_are_said_in_words(definition: str, words: str) -> None:
    assert attack_words(definition) == words


@pytest.mark.parametrize(
    ("eps", "words"), [(0.0, "clean"), (8 / 255, "8/255"), (0.5 / 255, "0.5/255"), (0.03, "7.65/255")]
)
def test_eps_are_said_in_255ths(eps: float, words: str) -> None:
    assert eps_words(eps) == words
