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

from stmbench.analyses.profile.samples import Samples
from stmbench.comparison.findings import Measured, adjudicate, conditions_text, exact_count
from stmbench.comparison.stored_profile import BETWEEN_PROCESSES
from stmbench.comparison.stored_quality import known_difference, paired_predictions
from stmbench.measure.effects import Effect, paired_effect
from stmbench.measure.repeated_training import repeated_difference, repeated_interval_difference
from stmbench.measure.statistics import Interval
from stmbench.tables.comparison_result import Finding
from stmbench.tables.flat import ERF
from stmbench.tables.labels import FEWEST_ROUNDS, LEARNED, are_random, is_random

ALPHA: Final = 0.05  # of all claims about one pair of models together
SPEED_MARGIN: Final = 0.02  # a smaller difference of speed, memory or cost matters to nobody
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
IMAGES: Final = ("definition", "dataset", "split", "num_images", "resolution", "dtype", "level", "condition")


def compare_models(frame: pd.DataFrame, folder: Path, model: str, baseline: str) -> tuple[Finding, ...]:
    """What of `model` is better or worse than of `baseline`, in the order of the page.

    Args:
        frame: rows of a store; folder: the store's, where artifacts lie.

    Returns:
        A finding for each quantity that both models have. `model` of a finding is `model`; `head` is its value and
        `base` the baseline's. Verdicts hold together with an error rate of 5 % (Holm's correction over the quantities).
    """
    frame = frame.copy(deep=False)
    frame.attrs = {}  # which pandas would copy with every selection
    measured = [
        *_quality(frame, folder, model, baseline),
        *_speed(frame, model, baseline),
        *_costs(frame, model, baseline),
    ]
    places = {(item.metric, item.conditions): place for place, item in enumerate(measured)}
    findings = adjudicate(measured, alpha=ALPHA)
    return tuple(sorted(findings, key=lambda finding: places[finding.metric, finding.conditions]))


def training_seeds(frame: pd.DataFrame) -> dict[tuple[str, str], int]:
    """(model, weights) -> the seed that they were trained with, of the store's trainings."""
    rows = frame[(frame["analysis"] == "train") & frame["weights"].notna()]
    rows = rows[["model", "weights", "seed"]].drop_duplicates()
    return {(str(model), str(weights)): int(seed) for model, weights, seed in rows.to_numpy()}


def _quality(frame: pd.DataFrame, folder: Path, model: str, baseline: str) -> Iterator[Measured]:
    seeds = training_seeds(frame)
    for quantity in QUANTITIES:
        rows = _rows_of(frame, quantity)
        for conditions, by_side in _matched(rows, (baseline, model), seeds):
            common = sorted(by_side[0].keys() & by_side[1].keys())
            if not common:
                continue
            sides = [[side[seed] for seed in common] for side in by_side]
            yield _measured(quantity, frame, folder, sides, conditions, common)


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


Side = dict[int, Mapping[str, Any]]  # seed -> row


def _matched(
    rows: pd.DataFrame, models: tuple[str, str], seeds: Mapping[tuple[str, str], int]
) -> Iterator[tuple[Mapping[str, Any], tuple[Side, Side]]]:
    """Conditions, and each model's row for each seed, for everything that both models have; the newest row counts."""
    matched: dict[tuple[Any, ...], tuple[Side, Side]] = {}
    for row in cast("list[dict[str, Any]]", rows.to_dict("records")):
        if row["model"] not in models:
            continue
        key = tuple(None if pd.isna(row[name]) else row[name] for name in IMAGES)
        seed = seeds.get((row["model"], row["weights"]), int(row["seed"]))
        matched.setdefault(key, ({}, {}))[models.index(row["model"])][seed] = row
    for key, by_side in matched.items():
        if all(by_side):
            yield dict(zip(IMAGES, key, strict=True)), by_side


def _measured(
    quantity: Quantity,
    frame: pd.DataFrame,
    folder: Path,
    sides: Sequence[Sequence[Mapping[str, Any]]],
    conditions: Mapping[str, Any],
    seeds: Sequence[int],
) -> Measured:
    paired = [_paired(frame, folder, rows, quantity) for rows in zip(*sides, strict=True)]
    effect: Effect | None = None
    how = f"{len(seeds)} seeds" if len(seeds) > 1 else "1 seed"
    how = "untrained" if any(is_random(row["weights"]) for rows in sides for row in rows) else how
    if all(pair is not None for pair in paired) and len({len(pair[0]) for pair in paired if pair}) == 1:
        base, head = (np.stack([pair[side] for pair in paired if pair]) for side in (0, 1))
        effect = repeated_difference(base, head, reach=1.0)  # hits, and areas under curves of hits
        how = f"{base.shape[1]} images, {how}"
    elif len(seeds) == 1 and (difference := known_difference(frame, [side[0] for side in sides])) is not None:
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


def _paired(
    frame: pd.DataFrame, folder: Path, rows: Sequence[Mapping[str, Any]], quantity: Quantity
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """(N,) values of the baseline and of the model, by image, with the predictions of these weights."""
    if quantity.metric == "erf":
        return None
    frames = [frame[(frame["model"] == row["model"]) & (frame["weights"] == row["weights"])] for row in rows]
    return paired_predictions(rows, frames, (folder, folder))


def _interval(row: Mapping[str, Any]) -> Interval:
    count = row["num_samples"] if not pd.isna(row["num_samples"]) else row["num_images"]
    return Interval(estimate=row["value"], low=row["ci_low"], high=row["ci_high"], count=1 if pd.isna(count) else count)


def _speed(frame: pd.DataFrame, model: str, baseline: str) -> Iterator[Measured]:
    """Throughput, and latency of one image, paired by round of the newest profile that holds both models."""
    rows = frame[(frame["analysis"] == "profile") & (frame["kind"] == "raw") & (frame["status"] == "ok")]
    settings = ["device", "dtype", "compile", "resolution"]
    for _, run in rows.groupby(["definition", *settings], dropna=False, sort=False):
        runs = [group for _, group in run.groupby("run_id", sort=False) if {model, baseline} <= {*group["model"]}]
        if not runs:
            continue
        samples = Samples()
        samples.add(max(runs, key=lambda group: group["created_utc"].max()), 0.0)
        base, head = (baseline, None), (model, None)
        kept = samples.kept(base, head) if base in samples.throughput and head in samples.throughput else []
        named = {name: run[name].iloc[0] for name in settings}
        batch = next((str(int(size)) for size in run["batch_size"].dropna() if size > 1), None)
        if kept:
            rates = [samples.rates(key, kept) for key in (base, head)]
            yield _timed(model, "throughput", rates, conditions_text(named, batch=batch), len(kept))
        latencies = [np.median(samples.latencies(key), axis=1) for key in (base, head)]
        if all(len(values) == len(kept) for values in latencies) and kept:
            yield _timed(model, "latency of one image", latencies, conditions_text(named), len(kept))


def _timed(model: str, metric: str, values: Sequence[Any], conditions: str, rounds: int) -> Measured:
    is_rate = metric == "throughput"
    return Measured(
        model=model,
        metric=metric,
        conditions=conditions,
        unit="images/s" if is_rate else "s",
        lower_is_better=not is_rate,
        base=float(np.median(values[0])),
        head=float(np.median(values[1])),
        effect=paired_effect(*values),
        margin=SPEED_MARGIN,
        rounds=rounds,
        reason=None if rounds >= FEWEST_ROUNDS else f"{rounds} rounds, fewer than {FEWEST_ROUNDS}",
    )


def _costs(frame: pd.DataFrame, model: str, baseline: str) -> Iterator[Measured]:
    """Peak memory, parameters and MACs, at the sizes that both models have."""
    units = {"peak_memory": "bytes", "params": "count", "macs": "MAC"}
    rows = frame[
        (frame["analysis"] == "profile")
        & frame["metric"].isin([*units])
        & (frame["kind"] == "summary")
        & frame["condition"].isna()
        & frame["stage"].isna()
        & frame["value"].notna()
    ].sort_values("created_utc", kind="stable")
    for metric, unit in units.items():
        mine = rows[rows["metric"] == metric]
        for resolution in dict.fromkeys(mine["resolution"].dropna()):
            of = mine[mine["resolution"] == resolution].drop_duplicates("model", keep="last").set_index("model")
            if not {model, baseline} <= {*of.index}:
                continue
            base, head = (float(of.loc[name, "value"]) for name in (baseline, model))
            count = exact_count(
                model, metric.replace("_", " "), base, head, unit=unit, conditions=f"{resolution} px",
                margin=SPEED_MARGIN,
            )  # fmt: skip
            if metric == "peak_memory" and count.effect is not None:
                error = BETWEEN_PROCESSES * float(np.hypot(1 / base, 1 / head))
                count = dataclasses.replace(count, effect=dataclasses.replace(count.effect, error=error))
            yield count
