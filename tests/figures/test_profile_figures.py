"""Every figure of a profile, over the tables that it must cope with."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
from matplotlib.figure import Figure

from stmbench.analyses.profile.figures import FIGURES, profile_figures
from stmbench.errors import OutputError, TableError
from stmbench.figures import save
from stmbench.figures.groups import match
from stmbench.figures.plot_data import labels, points, subtitle
from stmbench.figures.style import letters, shorten
from stmbench.tables import Row, frame_of
from tests.tables.frames import MIXERS, failed_row, profile_frame, profile_rows, with_attrs

NEEDS = {
    "throughput": "throughput",
    "ranks": "rank_probability",
    "latency": "latency",
    "efficiency": "throughput",
    "roofline": "achieved_macs_per_second",
    "parts": "part_macs",
}


def bare(rows: list[Row]) -> list[Row]:
    return [dataclasses.replace(row, ci_low=None, ci_high=None) for row in rows]


def many(count: int) -> list[Row]:
    rows = [row for row in profile_rows(raw=False) if row.model is None]
    for number in range(count):
        name = f"timm:a_model_with_an_uncommonly_long_name_{number}_$_{{x}}_&_<b>"
        for row in profile_rows([list(MIXERS)[number % 5]], raw=False):
            if row.model is not None:
                rows.append(dataclasses.replace(row, model=name, mixer=None, scale=None, value=row.value * 1.1**number))
    return [dataclasses.replace(row, ci_low=None, ci_high=None) for row in rows]


TABLES = {
    "five": profile_rows(),
    "one": profile_rows(["dw_conv"]),
    "no intervals": bare(profile_rows()),
    "twenty with long names": many(20),
    "none resolved": [
        dataclasses.replace(row, status="imprecise", reason="too wide") if row.metric == "throughput" else row
        for row in profile_rows(raw=False)
    ],
    "with a failure": [*profile_rows(["dw_conv", "sw_attn"]), failed_row()],
}


SLOW = [name for name in TABLES if name != "five"]


@pytest.mark.parametrize(
    "rows", [pytest.param(TABLES[name], marks=[pytest.mark.slow] * (name in SLOW), id=name) for name in TABLES]
)
def test_all_figures_are_drawn_without_a_warning(rows: list[Row], tmp_path: Path) -> None:
    frame = with_attrs(frame_of(rows))
    before = frame.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = profile_figures(frame)
        for name, figure in figures.items():
            paths = save(figure, tmp_path / name)
            assert [path.suffix for path in paths] == [".svg", ".png"]
            assert all(path.stat().st_size > 1000 for path in paths)
    of_several = ("throughput", "ranks", "efficiency") if frame["model"].nunique() == 1 else ()
    assert list(figures) == [name for name in FIGURES if name not in of_several]
    pd.testing.assert_frame_equal(frame, before)
    assert len(list(tmp_path.iterdir())) == 2 * len(figures), "no temporary file stays"


@pytest.mark.parametrize("name", FIGURES)
def test_a_missing_metric_is_named(name: str) -> None:
    frame = profile_frame(["dw_conv"])
    metrics = {"parts": ["part_macs", "part_time", "part_params"]}.get(name, [NEEDS[name]])
    without = frame[~frame["metric"].isin(metrics)]
    with pytest.raises(TableError, match=metrics[0]):
        FIGURES[name](without)
    without.attrs = frame.attrs
    assert name not in profile_figures(without)


@pytest.mark.slow
def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, draw in FIGURES.items():
        one, two = (save(draw(profile_frame()), tmp_path / copy / name) for copy in ("a", "b"))
        for a, b in zip(one, two, strict=True):
            assert a.read_bytes() == b.read_bytes(), name
        assert b"dc:date" not in one[0].read_bytes()


@pytest.mark.slow
def test_no_global_state_is_left() -> None:
    before = dict(matplotlib.rcParams)
    profile_figures(profile_frame())
    assert dict(matplotlib.rcParams) == before


def test_throughput_is_sorted_and_keeps_the_palette() -> None:
    figure = FIGURES["throughput"](profile_frame())
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["DW-Conv", "SR-Attn", "SW-Attn", "Halo-Attn", "DCNv3"]
    colours = {matplotlib.colors.to_hex(bar.get_facecolor()) for bar in axes.patches}
    assert len(colours) == 5


def test_text_stays_text_and_is_escaped(tmp_path: Path) -> None:
    svg, _ = save(FIGURES["throughput"](with_attrs(frame_of(many(2)))), tmp_path / "f")
    text = svg.read_text()
    assert "images/s" in text
    assert "<b>" not in text
    assert "&lt;b&gt;" in text


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        save(Figure(), tmp_path / "file" / "stem")


def test_points_take_the_newest_of_repeated_measurements() -> None:
    rows = [row for row in profile_rows(["dw_conv"], raw=False) if row.metric == "throughput"]
    later = dataclasses.replace(
        rows[0], value=200.0, run_id="later", created_utc=rows[0].created_utc.replace(year=2027)
    )
    (point,) = points(with_attrs(frame_of([later, *rows])), "throughput")
    assert point.value == 200.0


def test_labels_and_conditions() -> None:
    frame = profile_frame(["dw_conv"])
    assert labels(frame)["unified_dw_conv_micro"] == "DW-Conv"
    assert subtitle(points(frame, "throughput")) == "micro · 224 px · batch 64 · fp32 · cpu"
    scales = frame_of([*profile_rows(["dw_conv"]), *profile_rows(["dw_conv"], scale="tiny")])
    assert set(labels(with_attrs(scales)).values()) == {"DW-Conv micro", "DW-Conv tiny"}
    rows = [row for row in profile_rows(["dw_conv"]) if row.model is not None]
    optioned = [dataclasses.replace(row, model="unified_dw_conv_micro[design=C]") for row in rows]
    assert set(labels(with_attrs(frame_of(optioned))).values()) == {"DW-Conv, design=C"}


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("SW-Attn", "SW-Attn"),
        ("timm:convnextv2_nano.fcmae_ft_in22k_in1k_384", "timm:convnextv2_nano.\nfcmae_ft_in22k_in1k_384"),
        ("SW-Attn micro, layer_scale=1, window=7", "SW-Attn micro,\nlayer_scale=1, window=7"),
        ("Identity · digits.e1.s0:1a806af0e1ef", "Identity ·\ndigits.e1.s0:1a806af0e1ef"),
        ("a" * 40, "a" * 34 + "\n" + "a" * 6),
        ("a" * 60 + "b" * 40, "a" * 34 + "\n…" + "b" * 33),
    ],
)
def test_a_long_label_takes_two_lines(label: str, shown: str) -> None:
    assert shorten(label) == shown
    assert letters(label) == max(map(len, shown.split("\n"))) <= 34


def test_models_are_labelled_the_same_way_in_every_architecture() -> None:
    frame = profile_frame(["dw_conv"])

    def moved(architecture: str) -> pd.DataFrame:
        named = frame.assign(
            architecture=architecture, model=frame["model"].str.replace("unified_", f"{architecture}_", regex=False)
        )
        named.attrs = frame.attrs
        return named

    assert labels(moved("cotnet"))["cotnet_dw_conv_micro"] == labels(frame)["unified_dw_conv_micro"] == "DW-Conv"
    both = pd.concat([frame, moved("cotnet")], ignore_index=True)
    both.attrs = frame.attrs
    assert labels(both)["cotnet_dw_conv_micro"] == "DW-Conv cotnet"
    assert labels(both)["unified_dw_conv_micro"] == "DW-Conv unified"


def test_conditions_tell_points_of_one_model_apart() -> None:
    rows = [row for row in profile_rows(["dw_conv"], raw=False) if row.metric == "throughput"]
    chosen = points(with_attrs(frame_of([*rows, dataclasses.replace(rows[0], dtype="bf16")])), "throughput")
    assert [point.label for point in chosen] == ["DW-Conv · fp32", "DW-Conv · bf16"]


def test_metrics_are_matched_by_their_conditions() -> None:
    rows = [row for row in profile_rows(["dw_conv"], raw=False) if row.metric in ("throughput", "macs")]
    large = [dataclasses.replace(row, resolution=256, value=2 * row.value) for row in rows]
    frame = with_attrs(frame_of([*rows, *large]))
    for rate in points(frame, "throughput"):
        partner = match(rate, points(frame, "macs"))
        assert partner is not None
        assert partner.facts["resolution"] == rate.facts["resolution"]


def test_rectangles_are_matched_by_the_shape_in_the_datas_name() -> None:
    rows = {row.metric: row for row in profile_rows(["dw_conv"], raw=False)}
    rate = dataclasses.replace(rows["throughput"], resolution=None, dataset="photos:3x224x320")
    macs = dataclasses.replace(rows["macs"], resolution=None)
    for dataset, fits in (("noise:3x224x320", True), ("noise:3x320x224", False)):
        frame = with_attrs(frame_of([rate, dataclasses.replace(macs, dataset=dataset)]))
        assert (match(points(frame, "throughput")[0], points(frame, "macs")) is not None) == fits
