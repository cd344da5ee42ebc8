"""Figures that join analyses: fronts of accuracy and cost, and ranks with the ranks that intervals allow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from stmbench.errors import TableError
from stmbench.figures.across_analyses import RankRange, front, fronts, joined, pareto, ranked, standing, standings_of
from stmbench.figures.annotations import marks_in
from stmbench.tables import Row, frame_of
from tests.tables.frames import profile_rows, with_attrs

ACCURACY = {"halo_attn": 0.75, "sr_attn": 0.72, "sw_attn": 0.74, "dw_conv": 0.76, "dcnv3": 0.78}


def evaluated(half: float = 0.005, resolution: int = 224) -> list[Row]:
    """Accuracies of the five models, with intervals of that half width."""
    like = [row for row in profile_rows(raw=False) if row.metric == "throughput"]
    return [
        dataclasses.replace(
            row, analysis="eval", definition="eval.v1", metric="accuracy", unit="1", value=ACCURACY[str(row.mixer)],
            ci_low=ACCURACY[str(row.mixer)] - half, ci_high=ACCURACY[str(row.mixer)] + half, resolution=resolution,
            dataset="digits:3x224x224", batch_size=32, weights="trained.s0:0a1b",
        )
        for row in like
    ]  # fmt: skip


def whole(**options: float) -> pd.DataFrame:
    return with_attrs(frame_of([*profile_rows(raw=False), *evaluated(**options)]))


@pytest.mark.parametrize(
    ("values", "more", "expected"),
    [
        ([(1, 0.9), (2, 0.8), (3, 0.85)], True, [0, 2]),  # the middle one is slower than a better one
        ([(1, 0.9), (2, 0.8), (3, 0.85)], False, [0]),
        ([(1, 0.5), (1, 0.6)], False, [1]),
        ([(1, 0.5), (2, 0.5)], True, [1]),
        ([(1, 0.5), (2, 0.5)], False, [0]),
    ],
)
def test_the_front_is_what_no_other_beats(values: list[tuple[float, float]], more: bool, expected: list[int]) -> None:
    assert front(values, more_is_better=more) == expected


def test_costs_and_accuracies_join_on_model_and_size() -> None:
    pairs = joined(whole(), "throughput")
    assert {(pair.cost.model, pair.right.value) for pair in pairs} == {
        (f"unified_{mixer}_micro", value) for mixer, value in ACCURACY.items()
    }
    assert joined(whole(resolution=320), "throughput") == []
    trained = [dataclasses.replace(row, analysis="train", value=0.5, ci_low=0.4, ci_high=0.6) for row in evaluated()]
    profile = profile_rows(raw=False)
    assert {pair.right.value for pair in joined(with_attrs(frame_of([*profile, *trained])), "macs")} == {0.5}
    both = with_attrs(frame_of([*profile, *trained, *evaluated()]))
    assert {pair.right.value for pair in joined(both, "macs")} == set(ACCURACY.values()), "an evaluation comes first"
    with pytest.raises(TableError, match="stmbench eval"):
        pareto(with_attrs(frame_of(profile_rows(raw=False))), "throughput")


def changed(rows: Sequence[Row], **changes: Any) -> list[Row]:
    return [dataclasses.replace(row, **changes) for row in rows]


def of_scale(rows: Sequence[Row], scale: str, **changes: Any) -> list[Row]:
    """The same mixers at another scale."""
    return [
        dataclasses.replace(row, model=f"unified_{row.mixer}_{scale}", scale=scale, **changes)
        for row in rows
        if row.model is not None
    ]


def test_accuracies_of_random_weights_join_nothing() -> None:
    profile, half = profile_rows(raw=False), evaluated()[:2]
    random = changed(evaluated()[2:], weights="random:0")
    mixed = with_attrs(frame_of([*profile, *half, *random]))
    assert {pair.right.value for pair in joined(mixed, "macs")} == {0.75, 0.72}
    assert len(ranked(mixed)["accuracy"]) == 2
    none = with_attrs(frame_of([*profile, *changed(evaluated(), weights="random:0")]))
    assert "accuracy" not in ranked(none)
    with pytest.raises(TableError, match="two trained models"):
        pareto(none, "throughput")


def test_a_front_is_of_one_setting_and_of_two_models() -> None:
    tiny = of_scale([*profile_rows(raw=False), *evaluated()], "tiny", dtype="bf16")
    both = with_attrs(frame_of([*profile_rows(raw=False), *evaluated(), *tiny]))
    groups = fronts(both, "throughput")
    assert [{str(pair.cost.facts["dtype"]) for pair in group} for group in groups] == [{"fp32"}, {"bf16"}]
    lines = [line for line in pareto(both, "throughput").axes[0].lines if line.get_linestyle() == "--"]
    assert len(lines) == 2
    alone = with_attrs(frame_of([*profile_rows(["dcnv3"], raw=False), *evaluated()]))
    assert len(joined(alone, "throughput")) == 1
    with pytest.raises(TableError, match="two trained models"):
        pareto(alone, "throughput")


def test_ranks_hold_within_one_setting() -> None:
    few = of_scale([row for row in profile_rows(raw=False) if row.mixer in ("sr_attn", "dcnv3")], "tiny", resolution=32)
    columns = ranked(with_attrs(frame_of([*profile_rows(raw=False), *few])))
    assert {len(columns[said]) for said in ("MACs", "throughput", "latency p50", "peak memory")} == {5}
    assert {point.model.rpartition("_")[2] for point in columns["throughput"].values()} == {"micro"}
    assert {point.setting for point in columns["throughput"].values()} == {"224 px"}


@pytest.mark.parametrize("metric", ["throughput", "macs"])
def test_both_values_stand_at_every_mark(metric: str) -> None:
    figure = pareto(whole(), metric)
    said = {mark.text for mark in marks_in(figure).values() if mark.model == "unified_dcnv3_micro" and mark.text}
    assert len(said) == 1
    assert said.pop().startswith("DCNv3: accuracy, 78.0 % (95 %: 77.5 to 78.5); DCNv3: ")
    assert figure.axes[0].get_xscale() == "log"


def test_ranks_and_what_intervals_leave_open() -> None:
    columns = ranked(whole(half=0.008))
    assert list(columns) == ["parameters", "MACs", "throughput", "latency p50", "peak memory", "accuracy"]
    names = {model.split("_", 1)[1].removesuffix("_micro"): place
             for model, place in standings_of(columns["accuracy"], True).items()}  # fmt: skip
    assert names == {  # 0.78, 0.76, 0.75, 0.74, 0.72: intervals of 0.016 meet those next to them but one
        "dcnv3": RankRange(1, 1, 1),
        "dw_conv": RankRange(2, 2, 3),
        "halo_attn": RankRange(3, 2, 4),
        "sw_attn": RankRange(4, 3, 4),
        "sr_attn": RankRange(5, 5, 5),
    }
    exact = standings_of(columns["MACs"], False)
    assert exact["unified_sr_attn_micro"] == RankRange(1, 1, 1)
    assert all(place.best == place.rank == place.worst for place in exact.values())


def test_trainings_with_several_seeds_are_one_value_in_ranks_and_fronts() -> None:
    lower = [dataclasses.replace(row, value=row.value - 0.03, ci_low=row.ci_low - 0.03, ci_high=row.ci_high - 0.03,
                                 seed=1, weights="trained.s1:0c2d") for row in evaluated()]  # fmt: skip
    frame = with_attrs(frame_of([*profile_rows(raw=False), *evaluated(), *lower]))
    accuracies = ranked(frame)["accuracy"]
    point = accuracies["unified_dw_conv_micro"]
    assert (point.value, point.low, point.high) == pytest.approx((0.745, 0.725, 0.765))
    assert len(accuracies) == len(ACCURACY)
    assert [pair.right.trainings for pair in joined(frame, "macs")] == [2] * len(ACCURACY)


def test_the_matrix_orders_models_by_their_mean_rank() -> None:
    figure = standing(whole())
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == ["DW-Conv", "SR-Attn", "DCNv3", "SW-Attn", "Halo-Attn"]  # 11, 16, 20, 21, 22 over six ranks
    said = [mark.text for mark in marks_in(figure).values() if "accuracy" in mark.text]
    assert any("rank 1" in text for text in said)
    with pytest.raises(TableError, match="two quantities of two models"):
        standing(with_attrs(frame_of(evaluated())))


def test_a_value_without_an_interval_is_exact() -> None:
    rows = [dataclasses.replace(row, ci_low=math.nan, ci_high=math.nan) for row in evaluated()]
    column = ranked(with_attrs(frame_of(rows)))["accuracy"]
    assert {place.worst - place.best for place in standings_of(column, True).values()} == {0}
