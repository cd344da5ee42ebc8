"""From the table to what is drawn: one point per model and conditions, with its label, style and interval."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from stmbench.errors import TableError, printable
from stmbench.figures.palette import Style, style_of
from stmbench.tables.labels import FEWEST_ROUNDS, detector_and_backbone, is_random

FACETS: Final = (
    *("definition", "scale", "stage", "weights", "seed", "device", "dtype", "compile", "resolution", "dataset"),
    *("batch_size", "machine"),
)
OF_SEVERAL: Final = ("throughput_ratio", "rank_probability")
OF_ROUNDS: Final = (*OF_SEVERAL, "throughput", "achieved_macs_per_second", "peak_share")
# what must be the same before two models are compared: of costs and speeds, and of all that depends on the answers
OF_COSTS: Final = (
    *("definition", "stage", "device", "dtype", "compile", "resolution", "dataset", "batch_size", "machine"),
)
OF_ANSWERS: Final = ("definition", "stage", "dtype", "resolution", "dataset")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """A summary value in base units; `low` and `high` are its 95 % interval, NaN where there is none."""

    analysis: str
    model: str
    name: str  # the model's, short
    setting: str  # in words, where one model was measured in several; else empty
    style: Style
    mixer: str | None
    value: float
    low: float
    high: float
    status: str
    count: int | None  # of the samples behind it
    baseline: str | None
    condition: str | None
    level: float
    facts: dict[str, Any]  # the facets; None where null
    trainings: int = 1  # that it is the mean of

    @property
    def label(self) -> str:
        """The name, and the setting where that tells points apart."""
        return f"{self.name} · {self.setting}" if self.setting else self.name

    @property
    def is_untrained(self) -> bool:
        """Whether the model has random weights."""
        return is_random(self.facts["weights"])

    @property
    def comparable(self) -> tuple[Any, ...]:
        """The setting that findings, fronts, ranks and ratios hold in: they never join points of different ones."""
        if self.analysis == "profile":
            return tuple(self.facts[facet] for facet in OF_COSTS)
        return (*(self.facts[facet] for facet in OF_ANSWERS), self.is_untrained)

    @property
    def resolved(self) -> bool:
        """Whether nothing is wrong with it: it is drawn full."""
        return self.status == "ok"

    @property
    def rounds(self) -> str | None:
        """'3 rounds', where a profile's value stands on too few for an interval; else None."""
        if self.status != "inconclusive" or self.errors is not None or self.count is None:
            return None
        return "1 round" if self.count == 1 else f"{self.count} rounds"

    @property
    def flaw(self) -> str | None:
        """What is wrong with it, in a few words; None where nothing is."""
        if self.status == "suspect":
            return "suspect: it breaks a check"
        if self.status == "ok":
            return None
        if self.errors is None:
            return "inconclusive" if self.rounds is None else self.rounds
        return "interval wider than was asked for"

    @property
    def errors(self) -> tuple[float, float] | None:
        """Lengths of the whiskers below and above the value, in base units."""
        if math.isnan(self.low) or math.isnan(self.high):
            return None
        return max(self.value - self.low, 0.0), max(self.high - self.value, 0.0)


def points(frame: pd.DataFrame, metric: str) -> list[Point]:
    """The summary values of `metric`, in the table's order; of repeated measurements the newest.

    Of too few rounds of a profile there are values without intervals, and neither ratios nor ranks, whatever an older
    store says. Raises TableError, naming the metric, where the table has none of it.
    """
    chosen = [row for row in summaries(frame, metric) if row["model"] is not None]
    if not chosen:
        raise TableError(f"rows of the metric {metric!r}", "none", "profile the models again, with that metric")
    names = labels(frame)
    suffixes = _varying(chosen)
    mixers = frame.attrs.get("mixers", {})
    chosen_points = []
    for row in chosen:
        count = None if row["num_samples"] is None else int(row["num_samples"])
        few = metric in OF_ROUNDS and row["analysis"] == "profile" and count is not None and count < FEWEST_ROUNDS
        if few and metric in OF_SEVERAL:
            continue
        facts = {facet: row[facet] for facet in FACETS}
        extra = [_words(facet, facts[facet]) for facet in suffixes if _says_more(facet, facts, suffixes)]
        chosen_points.append(
            Point(
                analysis=row["analysis"],
                model=row["model"],
                name=names[row["model"]],
                setting=" · ".join(extra),
                style=style_of(row["model"] if row["mixer"] is None else row["mixer"], mixers),
                mixer=row["mixer"],
                value=row["value"],
                low=math.nan if few else _or_nan(row["ci_low"]),
                high=math.nan if few else _or_nan(row["ci_high"]),
                status="inconclusive" if few else row["status"],
                count=count,
                baseline=row["baseline"],
                condition=row["condition"],
                level=_or_nan(row["level"]),
                facts=facts,
            )
        )
    if not chosen_points:
        raise TableError(f"{metric!r} of {FEWEST_ROUNDS} rounds", "fewer", "profile again on a quieter machine")
    return chosen_points


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def points_of(frame: pd.DataFrame, metric: str) -> list[Point]:
    """`points`, or none where the table has none."""
    try:
        return points(frame, metric)
    except TableError:
        return []


COLUMNS: Final = (  # what points are made of, and what tells a repeated measurement
    *("analysis", "model", "mixer", "value", "ci_low", "ci_high", "status", "num_samples", "baseline", "condition"),
    *("level", "block", "head", "run_id", "created_utc"),
    *(facet for facet in FACETS if facet != "machine"),
)
IDENTITY: Final = ("model", "baseline", "condition", "level", "block", "head", *FACETS)


def summaries(frame: pd.DataFrame, metric: str) -> list[dict[str, Any]]:
    """Summary rows of `metric` that have a value; of repeated measurements the newest, in the table's order.

    Each has COLUMNS, None for nulls; and of what was timed the number of the machine, from 1, in
    `frame.attrs["machines"]`, where it is known. They are few, for which pandas takes several times as long.
    """
    wanted = (frame["metric"] == metric) & (frame["kind"] == "summary") & frame["value"].notna()
    chosen = frame[list(COLUMNS)][wanted]
    columns = [[None if _is_null(cell) else cell for cell in chosen[name].tolist()] for name in COLUMNS]
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)]
    places = frame.attrs.get("machine_of_run", {})
    for row in rows:
        timed = row["analysis"] == "profile" and row["device"] is not None  # counts have no device
        row["machine"] = places[row["run_id"]] + 1 if timed and row["run_id"] in places else None
    newest = {tuple(row[name] for name in IDENTITY): row for row in sorted(rows, key=lambda row: row["created_utc"])}
    kept = set(map(id, newest.values()))
    return [row for row in rows if id(row) in kept]


def _is_null(cell: Any) -> bool:
    return cell is pd.NA or cell is None or cell != cell  # the last: NaN and NaT


def labels(frame: pd.DataFrame) -> dict[str, str]:
    """A short name for each model, the same way in every architecture.

    A mixer's abbreviation, with the architecture and the scale if there are several, and the options in which models
    differ: 'SW-Attn, window=7'. The name of any other model. Before it a detector's kind, unless all are of one kind.
    """
    mixers, facts = frame.attrs.get("mixers", {}), ("architecture", "scale")
    models = frame.loc[frame["model"].notna() & ~frame["model"].duplicated(), ["model", "mixer", *facts]]
    full: dict[str, dict[Hashable, Any]] = {str(row["model"]): row for row in models.to_dict("records")}
    parts = {name: detector_and_backbone(name) for name in full}
    kinds = {kind for kind, _ in parts.values()}
    regular = {
        name: "{architecture}_{mixer}_{scale}".format_map(row) == parts[name][1].partition("[")[0]
        for name, row in full.items()
    }
    shared = shared_options(full)
    varying = [fact for fact in facts if len({row[fact] for name, row in full.items() if regular[name]}) > 1]
    short: dict[str, str] = {}
    for name, row in full.items():
        abbreviation = mixers.get(row["mixer"], {}).get("abbreviation", row["mixer"])
        kind, backbone = parts[name]
        before = f"{kind}:" if kind and len(kinds) > 1 else ""
        words = [abbreviation, *(row[fact] for fact in varying)] if regular[name] else [backbone]
        changed = [option for option in _options(name) if option not in shared] if regular[name] else []
        short[name] = before + ", ".join([" ".join(map(str, words)), *changed])
    return {name: printable(text) for name, text in _unique(short).items()}


def shared_options(models: Iterable[str]) -> list[str]:
    """Bracket options that all models have, where there are several: none of them tells one from another."""
    names = list(dict.fromkeys(models))
    if len(names) < 2:
        return []
    return [option for option in _options(names[0]) if all(option in _options(name) for name in names)]


def _options(model: str) -> list[str]:
    inside = model.partition("[")[2].removesuffix("]")
    return inside.split(",") if inside else []


def subtitle(chosen: list[Point], *, without: tuple[str, ...] = ()) -> str:
    """The conditions that all points share, in words: 'micro · 224 px · batch 64 · fp32 · cpu'."""
    words = []
    for facet in ("scale", "stage", "resolution", "batch_size", "dtype", "device", "compile"):
        values = {point.facts[facet] for point in chosen}
        if len(values) == 1 and facet not in without:
            (value,) = values
            if value is not None and (facet != "compile" or value):
                words.append(_words(facet, value))
    kinds = {detector_and_backbone(point.model)[0] for point in chosen}
    kind = [name for name in kinds if name and len(kinds) == 1]
    return " · ".join([*kind, *words, *shared_options(point.model for point in chosen)])


def _varying(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Facets that tell points of one model apart, and those without which models would seem comparable."""
    between = OF_COSTS if all(row["analysis"] == "profile" for row in rows) else OF_ANSWERS
    return [
        facet
        for facet in FACETS
        if _vary(rows, facet) and (facet in between or any(_vary(own, facet) for own in _by_model(rows)))
    ]


def _vary(rows: Iterable[Mapping[str, Any]], facet: str) -> bool:
    return len({row[facet] for row in rows} - {None}) > 1


def _by_model(rows: Iterable[Mapping[str, Any]]) -> Iterable[list[Mapping[str, Any]]]:
    models: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        models.setdefault(row["model"], []).append(row)
    return models.values()


def _says_more(facet: str, facts: dict[str, Any], suffixes: list[str]) -> bool:
    """The data's name has the input's shape, which a side in pixels has said already; a rectangle has no side."""
    said = facet == "dataset" and "resolution" in suffixes and facts["resolution"] is not None
    return facts[facet] is not None and not said


def _words(facet: str, value: Any) -> str:
    match facet:
        case "resolution":
            return f"{value} px"
        case "batch_size":
            return f"batch {value}"
        case "seed":
            return f"seed {value}"
        case "stage":
            return f"stage {value + 1}"
        case "definition":
            return " ".join(value.split(".")[1:-1]) or "inference"
        case "compile":
            return "compiled" if value else "eager"
        case "machine":
            return f"machine {value}"
    return str(value)


def _unique(short: dict[str, str]) -> dict[str, str]:
    taken = list(short.values())
    return {name: text if taken.count(text) == 1 else name for name, text in short.items()}
