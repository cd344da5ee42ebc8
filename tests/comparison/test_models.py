"""Two models of one store: known effects, paired by round, image and seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stmbench.comparison.models import compare_models, training_seeds
from stmbench.reporting.overview import section_of
from stmbench.tables import Row, Store
from stmbench.tables.comparison_result import Finding
from tests.comparison.stores import DW, HALO, costs, rounds, row, write

IMAGES = 400


def _trained(folder: Path, model: str, seed: int, hits: np.ndarray[Any, Any]) -> list[Row]:
    """A training and its evaluation, with predictions."""
    weights = f"digits.e1.s{seed}:{'d' if model == DW else 'e'}"
    run = f"20260314T092653-{'d' if model == DW else 'e'}{seed}00"
    labels = np.arange(IMAGES) % 10
    table = pd.DataFrame({"index": np.arange(IMAGES), "label": labels, "rank": np.where(hits, 0, 3)})
    artifact = f"parts/{model}-{seed}.parquet"
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / artifact)
    common: dict[str, Any] = {"model": model, "weights": weights, "dataset": "digits", "split": "test"}
    eval_: dict[str, Any] = {**common, "analysis": "eval", "definition": "eval.v1", "num_images": IMAGES, "run_id": run}
    return [
        row(**common, analysis="train", definition="train.v1", metric="best_accuracy", unit="1",
            value=float(hits.mean()), seed=seed),
        row(**eval_, metric="accuracy", unit="1", value=float(hits.mean()), ci_low=0.0, ci_high=1.0,
            num_samples=IMAGES),
        row(**eval_, metric="predictions", unit="count", value=float(IMAGES), artifact=artifact),
    ]  # fmt: skip


def _store(folder: Path, *, gains: tuple[float, ...], slower: float = 1.5) -> Path:
    """HALO gains a share of the images over DW in each seed, and takes `slower` times as long."""
    random = np.random.default_rng(0)
    rows = [*rounds(DW), *costs(DW)]
    # the same rounds for both: one run, interleaved
    rows += [item for item in rounds(HALO, seconds=0.01 * slower) if item.model == HALO]
    rows += costs(HALO, params=1.2e6)
    for seed, gain in enumerate(gains):
        base = random.random(IMAGES) < 0.7
        better = base.copy()
        wrong = np.flatnonzero(~base)
        better[wrong[: round(gain * IMAGES)]] = True
        rows += [*_trained(folder, DW, seed, base), *_trained(folder, HALO, seed, better)]
    return write(folder, rows)


def _compared(folder: Path) -> dict[str, Finding]:
    return {item.metric: item for item in compare_models(Store(folder).read(), folder, HALO, DW)}


def test_speed_is_paired_by_round_and_costs_are_exact(tmp_path: Path) -> None:
    found = _compared(_store(tmp_path, gains=(0.0,)))
    assert found["throughput"].verdict == "worse"
    assert found["throughput"].effect == pytest.approx(1 / 1.5, rel=0.02)
    assert found["throughput"].rounds is not None
    assert found["throughput"].rounds >= 30
    assert found["latency of one image"].effect == pytest.approx(1.5, rel=0.02)
    assert (found["params"].verdict, found["params"].effect) == ("worse", pytest.approx(1.2))
    assert (found["macs"].verdict, found["macs"].low) == ("same", None)


def test_accuracy_over_seeds_and_images(tmp_path: Path) -> None:
    found = _compared(_store(tmp_path, gains=(0.10, 0.11, 0.09)))["accuracy"]
    assert found.verdict == "better"
    assert found.effect == pytest.approx(0.10, abs=1e-9)
    assert found.conditions == f"{IMAGES} images, 3 seeds"
    assert found.low is not None
    assert 0 < found.low < 0.10


def test_one_lucky_seed_of_three_is_not_better(tmp_path: Path) -> None:
    """Images alone would resolve it: 8 % of 400 images, p far below 0.001."""
    lucky = _compared(_store(tmp_path / "three", gains=(0.24, 0.0, 0.0)))["accuracy"]
    alone = _compared(_store(tmp_path / "one", gains=(0.08,)))["accuracy"]
    assert lucky.effect == pytest.approx(0.08, abs=1e-9)
    assert (lucky.verdict, alone.verdict) == ("inconclusive", "better")
    assert alone.conditions == f"{IMAGES} images, 1 seed"


def test_seeds_that_only_one_model_has_are_left_out(tmp_path: Path) -> None:
    folder = _store(tmp_path, gains=(0.1, 0.1))
    frame = Store(folder).read()
    frame = frame[~((frame["model"] == DW) & frame["weights"].str.contains("s1:", na=False))]
    frame.attrs = Store(folder).read().attrs
    (found,) = [item for item in compare_models(frame, folder, HALO, DW) if item.metric == "accuracy"]
    assert found.conditions == f"{IMAGES} images, 1 seed"
    assert training_seeds(frame)[HALO, "digits.e1.s1:e"] == 1


def test_what_has_no_direction_is_larger_or_smaller(tmp_path: Path) -> None:
    rows = [
        row(analysis="erf", definition="stmbench.magnitude.linear.v1", metric="erf", unit="input_side", stage=stage,
            level=50.0, model=model, value=value, ci_low=value - 0.01, ci_high=value + 0.01, num_samples=64,
            num_images=64, resolution=224, dataset="photos", split="test")
        for model, values in ((DW, (0.9, 0.3)), (HALO, (0.2, 0.6)))
        for stage, value in enumerate(values)
    ]  # fmt: skip
    found = _compared(write(tmp_path, rows))["ERF@50, last stage"]
    assert (found.word, found.base, found.head) == ("larger", 0.3, 0.6)
    back = compare_models(Store(tmp_path).read(), tmp_path, DW, HALO)
    assert [item.word for item in back] == ["smaller"]


@pytest.mark.parametrize("known", [True, False])
def test_average_precision_is_paired_where_the_store_has_the_difference(tmp_path: Path, known: bool) -> None:
    fields: dict[str, Any] = {"analysis": "detection", "definition": "detection.coco.v1", "unit": "1",
                              "dataset": "shapes:1", "split": "test", "num_images": 48, "num_samples": 48}  # fmt: skip
    weights = {DW: "shapes.e1.s0:d", HALO: "shapes.e1.s0:e"}
    rows = [
        row(**fields, model=model, weights=weights[model], metric="box_ap", value=value, ci_low=value - 0.05,
            ci_high=value + 0.05)
        for model, value in ((DW, 0.30), (HALO, 0.34))
    ]  # fmt: skip
    rows.append(row(**fields, model=DW, weights="random:0", metric="box_ap", value=0.0, ci_low=0.0, ci_high=0.0))
    if known:
        rows.append(row(**fields, model=HALO, weights=weights[HALO], baseline=DW, metric="box_ap_difference",
                        value=0.04, ci_low=0.03, ci_high=0.05))  # fmt: skip
    found = _compared(write(tmp_path, rows))["box AP"]
    assert (found.base, found.head, found.effect) == (0.30, 0.34, pytest.approx(0.04))
    assert (found.verdict, found.conditions) == (
        ("better", "48 images, 1 seed") if known else ("inconclusive", "1 seed")
    )
    assert (found.low == pytest.approx(0.03)) == known
    (back,) = compare_models(Store(tmp_path).read(), tmp_path, DW, HALO)
    assert back.effect == pytest.approx(-0.04)
    assert (back.high == pytest.approx(-0.03)) == known


@pytest.mark.parametrize("known", [True, False])
def test_box_consistency_is_paired_where_the_store_has_the_difference(tmp_path: Path, known: bool) -> None:
    fields: dict[str, Any] = {"analysis": "box_consistency_scale", "definition": "box_consistency.scale.v1",
                              "unit": "1", "dataset": "shapes:1", "split": "test", "num_images": 48, "num_samples": 48,
                              "condition": "threshold=0.1", "level": 2.0}  # fmt: skip
    weights = {DW: "shapes.e1.s0:d", HALO: "shapes.e1.s0:e"}
    rows = [
        row(**fields, model=model, weights=weights[model], metric=metric, value=value, ci_low=value - 0.05,
            ci_high=value + 0.05)
        for model, value in ((DW, 0.50), (HALO, 0.54))
        for metric in ("box_consistency", "box_consistency_auc")
    ]  # fmt: skip
    if known:
        rows.append(row(**fields, model=HALO, weights=weights[HALO], baseline=DW,
                        metric="box_consistency_auc_difference", value=0.04, ci_low=0.03, ci_high=0.05))  # fmt: skip
    found = _compared(write(tmp_path, rows))
    assert list(found) == ["box consistency, scale"]
    assert found["box consistency, scale"].effect == pytest.approx(0.04)
    assert found["box consistency, scale"].verdict == ("better" if known else "inconclusive")
    assert section_of("Box consistency, scale") == "box_consistency_scale"


def test_lost_predictions_leave_the_intervals(tmp_path: Path) -> None:
    folder = _store(tmp_path, gains=(0.1,))
    next((folder / "parts").glob(f"{HALO}-0.parquet")).unlink()
    found = _compared(folder)["accuracy"]
    assert found.conditions == "1 seed"
    assert found.verdict == "inconclusive"


def test_models_that_share_nothing_have_no_findings(tmp_path: Path) -> None:
    folder = write(tmp_path, rounds(DW))
    assert compare_models(Store(folder).read(), folder, HALO, DW) == ()
