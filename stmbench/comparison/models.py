"""Two models of one store compared: is one better than the other, in what, and is that resolved?

Everything is paired: speeds by round (both models were measured in the same rounds), accuracies, consistencies and the
rest by image and by training seed. Where models were trained several times, seeds count as well as images (see
`measure.repeated_training`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pandas as pd

from stmbench.comparison.findings import Measured, adjudicate
from stmbench.comparison.model_costs import cost_rows, costs_of, speeds
from stmbench.comparison.stored_quality import Paired, known_difference, paired, predictions_of
from stmbench.measure.effects import Effect
from stmbench.measure.repeated_training import repeated_difference, repeated_interval_difference
from stmbench.measure.statistics import Floats, Interval
from stmbench.tables.comparison_result import Finding
from stmbench.tables.flat import ERF
from stmbench.tables.labels import LEARNED, are_random, is_random

ALPHA: Final = 0.05  # of all claims about one pair of models together
QUALITY_MARGIN: Final = 0.001


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantity:
    """A metric that models are compared by, and of which rows.

    Attributes:
        analysis: value of the column, or what it begins with.
        by_level: whether each level above 0 is a quantity of its own.
        lower_is_better: None: neither direction is.
    """

    title: str
    analysis: str
    metric: str
    by_level: bool = False
    lower_is_better: bool | None = False


# in the order of the page; what is measured of each round is apart, below
QUANTITIES: Final = (
    Quantity(title="accuracy", analysis="eval", metric="accuracy"),
    Quantity(title="box AP", analysis="detection", metric="box_ap"),
    Quantity(title="mask AP", analysis="detection", metric="mask_ap"),
    Quantity(title="ERF@50, last stage", analysis="erf", metric="erf", lower_is_better=None),
    Quantity(title="translation consistency", analysis="invariance_translation", metric="consistency_auc"),
    Quantity(title="rotation consistency", analysis="invariance_rotation", metric="consistency_auc"),
    Quantity(title="scale consistency", analysis="invariance_scale", metric="consistency_auc"),
    *(
        Quantity(title=f"box consistency, {kind}", analysis=f"box_consistency_{kind}", metric="box_consistency_auc")
        for kind in ("translation", "rotation", "scale")
    ),
    Quantity(title="accuracy under attack", analysis="robustness", metric="accuracy", by_level=True),
)
SAME_ROW: Final = ("analysis", "metric", "model", "weights", "seed", "run_id", "stage")  # beside what IMAGES names
IMAGES: Final = ("definition", "dataset", "split", "num_images", "resolution", "dtype", "level", "condition")

Row = Mapping[str, Any]
Side = dict[int, Row]  # seed -> row
Pair = tuple[Floats, Floats]  # (N,) values of the baseline and of the model, by image


def compare_models(frame: pd.DataFrame, folder: Path, model: str, baseline: str) -> tuple[Finding, ...]:
    """`ModelComparison.findings` of one pair of models."""
    return ModelComparison(frame, folder).findings(model, baseline)


class ModelComparison:
    """Pairs of models of a store; what the pairs have in common is looked up once.

    Args:
        frame: rows of a store; folder: the store's, where artifacts lie.
    """

    def __init__(self, frame: pd.DataFrame, folder: Path) -> None:
        frame = frame.copy(deep=False)
        frame.attrs = {}  # which pandas would copy with every selection
        self._folder = folder
        self._seeds = training_seeds(frame)
        self._rows = [(quantity, _by_model(_rows_of(frame, quantity))) for quantity in QUANTITIES]
        self._differences = frame[frame["metric"].fillna("").str.endswith("_difference")]
        self._timed = frame[(frame["analysis"] == "profile") & (frame["kind"] == "raw") & (frame["status"] == "ok")]
        self._costs = cost_rows(frame)
        of_images = frame[frame["analysis"] != "profile"]
        self._of_weights = dict(iter(of_images.groupby(["model", "weights"], sort=False)))
        self._predictions: dict[tuple[Any, ...], Paired | None] = {}

    def findings(self, model: str, baseline: str) -> tuple[Finding, ...]:
        """What of `model` is better or worse than of `baseline`, in the order of the page.

        Returns:
            A finding for each quantity that both models have. `model` of a finding is `model`; `head` is its value and
            `base` the baseline's. Verdicts hold together with an error rate of 5 % (Holm's correction over the
            quantities).
        """
        measured = [
            *self._quality(model, baseline),
            *speeds(self._timed, model, baseline),
            *costs_of(self._costs, model, baseline),
        ]
        places = {(item.metric, item.conditions): place for place, item in enumerate(measured)}
        findings = adjudicate(measured, alpha=ALPHA)
        return tuple(sorted(findings, key=lambda finding: places[finding.metric, finding.conditions]))

    def _quality(self, model: str, baseline: str) -> Iterator[Measured]:
        for quantity, by_model in self._rows:
            for conditions, by_side in _matched([by_model.get(name, []) for name in (baseline, model)], self._seeds):
                common = sorted(by_side[0].keys() & by_side[1].keys())
                if common:
                    sides = [[side[seed] for seed in common] for side in by_side]
                    pairs = [self._paired(rows, quantity) for rows in zip(*sides, strict=True)]
                    yield _measured(quantity, self._differences, pairs, sides, conditions)

    def _paired(self, rows: Sequence[Mapping[str, Any]], quantity: Quantity) -> Pair | None:
        """(N,) values of the baseline and of the model, by image, with the predictions of these weights."""
        if quantity.metric == "erf":
            return None
        return paired(rows, [self._predicted(row) for row in rows])

    def _predicted(self, row: Mapping[str, Any]) -> Paired | None:
        key = tuple(str(row[name]) for name in (*SAME_ROW, *IMAGES))
        if key not in self._predictions:
            rows = self._of_weights[row["model"], row["weights"]]
            self._predictions[key] = predictions_of(row, rows, self._folder)
        return self._predictions[key]


def training_seeds(frame: pd.DataFrame) -> dict[tuple[str, str], int]:
    """(model, weights) -> the seed that they were trained with, of the store's trainings."""
    rows = frame[(frame["analysis"] == "train") & frame["weights"].notna()]
    rows = rows[["model", "weights", "seed"]].drop_duplicates()
    return {(str(model), str(weights)): int(seed) for model, weights, seed in rows.to_numpy()}


def _rows_of(frame: pd.DataFrame, quantity: Quantity) -> pd.DataFrame:
    """The summary rows of a quantity, its preferred definition and last stage only, in the order of their making."""
    rows = frame[
        (frame["analysis"] == quantity.analysis)
        & (frame["metric"] == quantity.metric)
        & (frame["kind"] == "summary")
        & frame["baseline"].isna()
        # a condition of an invariance is how it was measured, of the others what else was
        & (frame["condition"].isna() | frame["metric"].isin(["consistency_auc", "box_consistency_auc"]))
        & frame["value"].notna()
    ]
    trained = rows[~are_random(rows["weights"])]
    # accuracies of random weights say nothing; of a model that was trained, neither do the rest
    rows = trained if quantity.metric in LEARNED or len(trained) else rows
    if rows.empty:
        return rows
    if quantity.metric == "erf":
        rows = rows[(rows["level"] == 50) & (rows["definition"] == _preferred(rows["definition"]))]
        rows = rows[rows["stage"] == rows["stage"].max()]
    if quantity.by_level:
        rows = rows[rows["level"] > 0]
    return rows.sort_values("created_utc", kind="stable")


def _preferred(definitions: pd.Series) -> str:
    """ERF's own definition; of others the first."""
    return ERF if (definitions == ERF).any() else str(definitions.iloc[0])


def _by_model(rows: pd.DataFrame) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in cast("list[Row]", rows.to_dict("records")):
        found.setdefault(str(row["model"]), []).append(row)
    return found


def _matched(
    sides: Sequence[Sequence[Row]], seeds: Mapping[tuple[str, str], int]
) -> Iterator[tuple[Mapping[str, Any], tuple[Side, Side]]]:
    """Conditions, and each model's row for each seed, for everything that both models have; the newest row counts."""
    matched: dict[tuple[Any, ...], tuple[Side, Side]] = {}
    for place, rows in enumerate(sides):
        for row in rows:
            key = tuple(None if pd.isna(row[name]) else row[name] for name in IMAGES)
            seed = seeds.get((row["model"], row["weights"]), int(row["seed"]))
            matched.setdefault(key, ({}, {}))[place][seed] = row
    for key, by_side in matched.items():
        if all(by_side):
            yield dict(zip(IMAGES, key, strict=True)), by_side


def _measured(
    quantity: Quantity,
    differences: pd.DataFrame,
    pairs: Sequence[Pair | None],
    sides: Sequence[Sequence[Row]],
    conditions: Mapping[str, Any],
) -> Measured:
    effect: Effect | None = None
    how = f"{len(pairs)} seeds" if len(pairs) > 1 else "1 seed"
    how = "untrained" if any(is_random(row["weights"]) for rows in sides for row in rows) else how
    if all(pair is not None for pair in pairs) and len({len(pair[0]) for pair in pairs if pair}) == 1:
        base, head = (np.stack([pair[side] for pair in pairs if pair]) for side in (0, 1))
        effect = repeated_difference(base, head, reach=1.0)  # hits, and areas under curves of hits
        how = f"{base.shape[1]} images, {how}"
    elif len(pairs) == 1 and (difference := known_difference(differences, [side[0] for side in sides])) is not None:
        effect, how = difference, f"{difference.count} images, {how}"
    elif all(row["ci_high"] >= row["ci_low"] for rows in sides for row in rows):
        # an ERF is the side of a square about the centre, whose sides grow by two pixels
        side = str(conditions["resolution"] or "").partition("x")[0]
        resolution = 2 / int(side) if quantity.metric == "erf" and side.isdigit() else 0.0
        effect = repeated_interval_difference(*([_interval(row) for row in rows] for rows in sides),
                                              resolution=resolution)  # fmt: skip
    base_value, head_value = (float(np.mean([row["value"] for row in rows])) for rows in sides)
    level = conditions["level"]
    at = f", {level * 255:.3g}/255" if quantity.by_level and level is not None else ""
    return Measured(
        model=str(sides[1][0]["model"]),
        metric=f"{quantity.title}{at}",
        conditions=how,
        kind="difference",
        lower_is_better=bool(quantity.lower_is_better),
        has_direction=quantity.lower_is_better is not None,
        base=base_value,
        head=head_value,
        effect=effect,
        margin=QUALITY_MARGIN,
        rounds=None if pd.isna(conditions["num_images"]) else int(conditions["num_images"]),
        reason=None if effect is not None else "no intervals to compare",
    )


def _interval(row: Mapping[str, Any]) -> Interval:
    count = row["num_samples"] if not pd.isna(row["num_samples"]) else row["num_images"]
    return Interval(estimate=row["value"], low=row["ci_low"], high=row["ci_high"], count=1 if pd.isna(count) else count)
