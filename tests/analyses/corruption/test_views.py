"""What is shown of corruptions, as pure functions of a table."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from rich.console import Console

from stmbench.analyses.corruption.figures import figures
from stmbench.analyses.corruption.options import CLEAN, CORRUPTIONS, FAMILIES
from stmbench.analyses.corruption.section import section
from stmbench.analyses.corruption.terminal import terminal
from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.annotations import marks_in
from tests.analyses.corruption.rows import BASELINE, MIXERS, accuracy, example, mean_accuracy
from tests.figures.small_panels import boxes_of, lines_in


def lines(view: View, width: int = 160) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(terminal(view))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_a_panel_for_each_corruption_and_a_line_for_each_model() -> None:
    figure = figures(View(rows=example()))["corruption_severity"]
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title("left") for axes in panels][:3] == ["Gaussian noise", "Shot noise", "Impulse noise"]
    assert len(panels) == 15
    assert {len(axes.lines) for axes in panels} == {len(MIXERS)}
    line = panels[0].lines[list(MIXERS).index("sw_attn")]
    assert list(line.get_xdata()) == [0, 1, 2, 3, 4, 5]
    clean = [100 * MIXERS["sw_attn"]]
    assert list(line.get_ydata()) == pytest.approx(
        clean + [100 * accuracy("sw_attn", "gaussian_noise", level) for level in range(1, 6)]
    )


def test_cells_say_the_mean_accuracy_and_the_best_model_is_first() -> None:
    (axes,) = figures(View(rows=example()))["corruption_accuracy"].axes
    order = sorted(MIXERS, key=lambda mixer: -mean_accuracy(mixer, CORRUPTIONS))
    assert [tick.get_text() for tick in axes.get_yticklabels()] == order
    said = [text.get_text() for text in axes.texts[:17]]
    expected = [MIXERS[order[0]], *(mean_accuracy(order[0], (name,)) for name in CORRUPTIONS)]
    expected.append(mean_accuracy(order[0], CORRUPTIONS))
    assert said == [f"{100 * value:.1f}" for value in expected]


def test_errors_below_the_baselines_are_blue_and_above_it_red() -> None:
    (axes,) = figures(View(rows=example()))["corruption_errors"].axes
    assert BASELINE not in [tick.get_text() for tick in axes.get_yticklabels()]
    cells = list(zip(axes.patches, axes.texts, strict=False))
    assert len(cells) == 16 * (len(MIXERS) - 1)
    for patch, text in cells:
        red, _, blue = to_rgb(patch.get_facecolor())
        assert (float(text.get_text()) < 100) == (blue > red)


def test_without_a_baseline_there_are_no_errors() -> None:
    view = View(rows=example(baseline=None))
    assert set(figures(view)) == {"corruption_severity", "corruption_accuracy"}
    assert not any("mCE" in line for line in lines(view))


def test_the_terminal_shows_families_and_means() -> None:
    found = lines(View(rows=example()))
    assert found[0].split() == ["model", "clean", *FAMILIES, "mean", "mCE", "relative", "mCE"]
    row = next(line for line in found if line.startswith("halo_attn")).split()
    means = [mean_accuracy("halo_attn", names) for names in (*FAMILIES.values(), CORRUPTIONS)]
    assert row[1:7] == [f"{100 * value:.1f}" for value in (MIXERS["halo_attn"], *means)]
    assert "–" in next(line for line in found if line.startswith(BASELINE))
    assert any(f"errors in % of those of {BASELINE}" in line for line in found)


def test_a_selection_has_its_corruptions_and_its_own_mean() -> None:
    view = View(rows=example(("noise", "fog"), baseline=None))
    assert lines(view)[0].split() == ["model", "clean", "noise", "fog", "mean"]
    assert len([axes for axes in figures(view)["corruption_severity"].axes if axes.get_visible()]) == 4


def test_every_summary_value_is_in_the_section() -> None:
    rows = example()
    found = section(View(rows=rows))
    assert [table.name for table in found.tables] == [
        "corruption", "corruption-mean-accuracy", "corruption-corruption-error",
    ]  # fmt: skip
    shown = {cell.text for table in found.tables for line in table.lines for cell in line.cells}
    for plot in found.plots:
        shown |= {word.strip("(),;:") for mark in marks_in(plot.figure).values() for word in mark.text.split()}
    for value in rows.loc[rows["metric"].isin(["accuracy", "mean_accuracy"]), "value"]:
        assert f"{100 * value:.1f}" in shown
    assert found.lead.startswith("halo_attn has the highest mean accuracy under corruption of 5")
    assert [plot.title for plot in found.plots] == [
        "Accuracy by severity", "Mean accuracy by corruption", "Corruption errors",
    ]  # fmt: skip


def test_random_weights_are_said_so() -> None:
    view = View(rows=example(weights="random:0"))
    (axes,) = figures(view)["corruption_accuracy"].axes
    assert all("random init" in tick.get_text() for tick in axes.get_yticklabels())
    assert "no result" in section(view).lead


def test_two_definitions_have_figures_of_their_own() -> None:
    both = pd.concat([example(), example(definition="corruption.stmbench.jpeg85.v1")], ignore_index=True)
    assert len(figures(View(rows=both))) == 6


def test_a_table_without_corruptions() -> None:
    empty = example()[:0]
    assert figures(View(rows=empty)) == {}
    with pytest.raises(TableError, match="corruption"):
        terminal(View(rows=empty))


def test_differences_come_first_a_column_for_each_family() -> None:
    rows = example()
    control = f"unified_{BASELINE}_micro"
    base = rows[(rows["metric"] == "accuracy") & (rows["model"] != control) & (rows["condition"] == CLEAN)]
    pairs = [
        base.assign(metric="accuracy_difference", baseline=control, condition=name, level=float(level),
                    value=0.01 * level, ci_low=0.005 * level, ci_high=0.02 * level)
        for name in (*CORRUPTIONS, *FAMILIES) for level in range(1, 6)
    ]  # fmt: skip
    both = pd.concat([rows, *pairs], ignore_index=True)
    drawn = figures(View(rows=both))
    assert next(iter(drawn)) == "corruption_differences"
    figure = drawn["corruption_differences"]
    assert len(boxes_of(figure)) == 4 * base["model"].nunique()
    heads = [text.get_text() for text in figure.texts]
    assert [text for text in heads if text in ("Noise", "Blur", "Weather", "Digital")] == [
        "Noise", "Blur", "Weather", "Digital",
    ]  # fmt: skip
    curve = next(line for line in lines_in(figure) if len(line.get_xdata()) == 5 and line.get_linewidth() > 1)
    assert list(curve.get_ydata()) == pytest.approx([1, 2, 3, 4, 5])


def test_a_map_of_a_few_cells_is_left_out_and_the_section_says_so() -> None:
    view = View(rows=example(("fog", "snow"), mixers=("dw_conv", "sr_attn")))
    assert set(figures(view)) == {"corruption_severity"}
    notes = [caveat.text for caveat in section(view).caveats if caveat.kind == "note"]
    assert notes == [
        "No figure of accuracy by corruption: it would hold 4 cells; the table has the values.",
        "No figure of errors by corruption: it would hold 2 cells; the table has the values.",
    ]
