"""Several settings in one figure: rows under headings, each model once in a legend, a stroke for each precision."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from stmbench.analyses.profile.figures.against_macs import efficiency, roofline
from stmbench.analyses.profile.figures.parts import parts
from stmbench.analyses.profile.figures.scaling import scaling
from stmbench.analyses.profile.figures.speed import throughput
from stmbench.figures.groups import by_setting
from stmbench.figures.names import MOST_BESIDE
from stmbench.figures.plot_data import points
from stmbench.tables import frame_of
from tests.tables.frames import profile_rows, with_attrs

SIDES, DTYPES = (112, 224), ("fp32", "bf16")
FREE = ("params", "part_params", "macs", "part_macs", "activations")  # of the precision; parameters of the size too


def settings(**more: Any) -> pd.DataFrame:
    """Five mixers, each at two sizes and in two precisions; the smaller the faster."""
    rows_of_sizes = []
    for side in SIDES:
        for dtype in DTYPES:
            for row in profile_rows(raw=False):
                scaled = row.value if row.metric != "throughput" or row.value is None else row.value * 224 / side
                facts: dict[str, Any] = {"resolution": side, "dtype": None if row.metric in FREE else dtype}
                if row.metric == "params":
                    facts["resolution"] = None
                ends = {"ci_low": 0.99 * scaled, "ci_high": 1.01 * scaled} if row.metric == "throughput" else {}
                rows_of_sizes.append(dataclasses.replace(row, value=scaled, **{**facts, **ends, **more}))
    return with_attrs(frame_of(rows_of_sizes))


def names(figure: Figure) -> list[str]:
    return [tick.get_text() for tick in figure.axes[0].get_yticklabels()]


def test_rows_stand_under_the_setting_they_were_measured_in() -> None:
    chosen = points(settings(), "throughput")
    rows = by_setting(chosen, lambda point: -point.value)
    headings = [item for item in rows.items if isinstance(item, str)]
    assert headings == ["fp32 · 112 px", "bf16 · 112 px", "fp32 · 224 px", "bf16 · 224 px"]
    assert rows.names[:6] == ["fp32 · 112 px", "DW-Conv", "SR-Attn", "SW-Attn", "Halo-Attn", "DCNv3"]
    assert [row for row, _ in rows.points][:6] == [1, 2, 3, 4, 5, 7]
    assert names(throughput(settings())) == rows.names


def test_one_setting_and_settings_of_single_models_need_no_headings() -> None:
    one = by_setting(points(with_attrs(frame_of(profile_rows(raw=False))), "throughput"), lambda point: -point.value)
    assert one.names[0] == "DW-Conv"
    assert len(one.points) == len(one.items) == 5
    chosen = [
        dataclasses.replace(point, setting=f"weights {number}")
        for number, point in enumerate(points(settings(), "throughput"))
    ]
    each = by_setting(chosen, lambda point: -point.value)
    assert len(each.points) == len(each.items)
    assert each.names[0].startswith("DW-Conv · weights ")


def test_costs_stand_beside_the_times_of_every_precision() -> None:
    figure = parts(settings())
    shown = names(figure)
    assert shown.count("DW-Conv") == len(SIDES) * len(DTYPES)
    for axes in figure.axes[:3]:
        widths: dict[float, float] = {}
        for bar in axes.patches:
            widths[round(bar.get_y(), 3)] = widths.get(round(bar.get_y(), 3), 0.0) + bar.get_width()
        assert len([width for width in widths.values() if width > 0]) == 20


def test_a_legend_names_models_of_many_settings_once() -> None:
    assert len(points(settings(), "throughput")) > MOST_BESIDE
    for figure in (efficiency(settings()), roofline(settings())):
        (legend,) = figure.legends
        assert sorted(text.get_text() for text in legend.get_texts()) == [
            "DCNv3", "DW-Conv", "Halo-Attn", "SR-Attn", "SW-Attn",
        ]  # fmt: skip


def test_a_machine_has_one_roof_for_each_precision() -> None:
    said = [text.get_text() for text in roofline(settings()).axes[0].texts]
    assert sorted(text.partition(":")[0] for text in said if "peak" in text) == [
        "measured peak (cpu bf16)", "measured peak (cpu fp32)",
    ]  # fmt: skip


def test_precisions_differ_in_stroke() -> None:
    (legend,) = scaling(settings()).legends
    strokes = {
        text.get_text().rpartition(" ")[2]: handle.get_linestyle()  # type: ignore[attr-defined]
        for text, handle in zip(legend.get_texts(), legend.get_lines(), strict=True)
    }
    assert strokes["fp32"] == "-"
    assert strokes["bf16"] != "-"
