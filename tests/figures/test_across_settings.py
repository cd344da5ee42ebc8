"""Throughput over sizes, with its exponent, and whether the order of models holds between settings."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stmbench.analyses.profile.figures import profile_figures
from stmbench.analyses.profile.figures.scaling import (
    by_size,
    exponent,
    kendall,
    matrix,
    rankings,
    scaling,
    stability,
    swapped,
)
from stmbench.errors import TableError
from stmbench.figures.plot_data import labels, shared_options
from stmbench.tables import Row, frame_of
from tests.tables.frames import MIXERS, profile_rows, with_attrs


def timed(rates: dict[str, float], half: float = 0.01, **facts: Any) -> list[Row]:
    like = {row.mixer: row for row in profile_rows(raw=False) if row.metric == "throughput"}
    return [
        dataclasses.replace(like[mixer], value=rate, ci_low=(1 - half) * rate, ci_high=(1 + half) * rate, **facts)
        for mixer, rate in rates.items()
    ]


def table(*rows: list[Row]) -> pd.DataFrame:
    return with_attrs(frame_of([row for some in rows for row in some]))


def sizes(power: float) -> pd.DataFrame:
    return table(*(timed({"dw_conv": 1e6 / side ** (2 * power)}, resolution=side) for side in (64, 128, 256)))


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_the_exponent_of_a_power_law_is_found(power: float) -> None:
    (line,) = by_size(sizes(power)).values()
    assert [point.facts["resolution"] for point in line] == ["64", "128", "256"]
    assert exponent([64, 128, 256], [point.value for point in line]) == pytest.approx(power)


def test_the_exponent_stands_in_the_legend() -> None:
    (legend,) = scaling(sizes(1.5)).legends
    assert [text.get_text() for text in legend.get_texts()] == ["1.50  DW-Conv"]


def test_series_are_kept_apart_and_the_fastest_batch_counts() -> None:
    frame = table(
        *(timed({"dw_conv": 100}, resolution=side, dtype=dtype) for side in (64, 128) for dtype in ("fp32", "bf16")),
        timed({"dw_conv": 150}, resolution=64, dtype="bf16", batch_size=1),
    )
    lines = by_size(frame)
    assert len(lines) == 2
    assert sorted(line[0].value for line in lines.values()) == [100, 150]
    with pytest.raises(TableError, match="two sizes"):
        scaling(table(timed({"dw_conv": 100})))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [([1, 2, 3], [4, 5, 6], 1), ([1, 2, 3], [6, 5, 4], -1), ([1, 2, 3], [1, 3, 2], 1 / 3), ([1, 2], [1, 1], 0)],
)
def test_kendall(a: list[float], b: list[float], expected: float) -> None:
    assert kendall(a, b) == pytest.approx(expected)


def test_sure_swaps_are_counted_and_unsure_ones_are_not() -> None:
    rates = dict(zip(MIXERS, (10.0, 20.0, 30.0, 40.0, 50.0), strict=True))
    turned = {**rates, "halo_attn": 25.0, "dw_conv": 50.2}  # halo passes sr for sure; dw and dcnv3 meet
    orders = rankings(table(timed(rates, dtype="fp32"), timed(turned, dtype="bf16")))
    assert list(orders) == ["fp32", "bf16"]
    assert swapped(orders["fp32"], orders["bf16"]) == [("unified_sr_attn_micro", "unified_halo_attn_micro")]
    taus = matrix(orders)
    assert taus[0, 1] == taus[1, 0] == pytest.approx(1 - 2 * 2 / 10)
    frame = table(timed(rates, dtype="fp32"), timed(turned, dtype="bf16"))
    assert "stability" in profile_figures(frame)
    figure = stability(frame)
    assert "0.60\n1 sure" in [text.get_text() for text in figure.axes[0].texts]


def test_settings_without_common_models_have_no_order() -> None:
    orders = rankings(table(timed({"dw_conv": 1, "sr_attn": 2, "dcnv3": 3}), timed({"dw_conv": 1}, dtype="bf16")))
    assert np.isnan(matrix(orders)[0, 1])
    with pytest.raises(TableError, match="three models"):
        stability(table(timed({"dw_conv": 1, "sr_attn": 2, "dcnv3": 3})))


def test_options_that_all_models_share_are_said_once() -> None:
    frame = pd.DataFrame({
        "model": ["unified_sw_attn_nano[layer_scale=1,window=5]", "unified_dw_conv_nano[layer_scale=1]"],
        "mixer": ["sw_attn", "dw_conv"],
        "architecture": ["unified"] * 2,
        "scale": ["nano"] * 2,
    })  # fmt: skip
    assert list(labels(frame).values()) == ["sw_attn, window=5", "dw_conv"]
    assert shared_options(frame["model"]) == ["layer_scale=1"]
    assert list(labels(frame[:1]).values()) == ["sw_attn, layer_scale=1, window=5"]
    assert shared_options([*frame["model"], "unified_identity_nano"]) == []
