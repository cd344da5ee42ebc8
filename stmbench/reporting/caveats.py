"""Caveats about the rows of one analysis, and about a store as a whole."""

from __future__ import annotations

import dataclasses
import re
import zipfile
from pathlib import Path

import pandas as pd

from stmbench.figures.plot_data import labels
from stmbench.reporting.content import Caveat, Kind
from stmbench.tables.labels import FEWEST_ROUNDS, are_random, few_rounds, listed, unfit_warnings

_NUMBER = re.compile(r"\d+(\.\d+)?")
FEW = 6  # pairs that are named
MOST = 12  # of one kind, beyond which the rest is counted


@dataclasses.dataclass(frozen=True, kw_only=True)
class Issue:
    """A model that failed or was skipped, and why; `times` counts equal ones."""

    model: str
    status: str
    reason: str
    times: int


def caveats(frame: pd.DataFrame, *, quality: bool = True) -> tuple[Caveat, ...]:
    """Of the rows of one analysis: untrained weights, wide intervals, what is suspect, failed and skipped units.

    Args:
        quality: whether the numbers depend on what a model has learned; cost and speed do not.
    """
    found: list[Caveat] = []
    if quality and (names := untrained(frame)):
        all_of_them = len(names) == frame["model"].nunique()
        who = "All models have" if all_of_them else f"{listed(names)} {'has' if len(names) == 1 else 'have'}"
        text = f"{who} random weights: the numbers describe structure and initialisation, not what training would give."
        found.append(Caveat(kind="untrained", text=text))
    found += _few_rounds(frame)
    pairs = [_pairs(what, why) for what, why in wide(frame)]
    suspects = _reasons(frame[(frame["status"] == "suspect") & (frame["kind"] == "summary")], "suspect")
    return (*found, *_few(pairs, "imprecise"), *_few(suspects, "suspect"), *left_out(frame))


def left_out(frame: pd.DataFrame) -> list[Caveat]:
    """Failed and skipped units: the models of one reason together, their rows counted."""
    together: dict[tuple[Kind, str], dict[str, int]] = {}
    reasons: dict[tuple[Kind, str], dict[str, None]] = {}
    for trouble in troubles(frame):
        kind: Kind = "failed" if trouble.status == "failed" else "skipped"
        alike = kind, _NUMBER.sub("#", trouble.reason)  # levels that are too large differ in a number
        models = together.setdefault(alike, {})
        models[trouble.model] = models.get(trouble.model, 0) + trouble.times
        reasons.setdefault(alike, {})[trouble.reason] = None
    found = []
    for alike, models in together.items():
        count, (reason, *others) = sum(models.values()), reasons[alike]
        times = f" ({count} rows)" if count > len(models) else ""
        who = f"All {len(models)} models" if 2 < len(models) == frame["model"].nunique() else listed(models)
        more = f" (and {len(others)} more like it)" if others else ""
        found.append(Caveat(kind=alike[0], text=f"{who}{times}: {reason}{more}"))
    return [caveat for kind in ("failed", "skipped") for caveat in _few([c for c in found if c.kind == kind], kind)]


def of_stores(frame: pd.DataFrame) -> tuple[Caveat, ...]:
    """Warnings of the runs, rows of several commits or machines, parts that could not be read."""
    found = [str(text) for text in frame.attrs.get("warnings", []) if not unfit_warnings([str(text)])]
    found += faint_mixers(frame)
    commits = frame.attrs.get("commits", {})
    if len(commits) > 1:
        shares = ", ".join(f"{str(commit)[:12]} ({rows} rows)" for commit, rows in commits.items())
        found.append(f"Rows of {len(commits)} commits stand side by side: {shares}.")
    if len(frame.attrs.get("machines", [])) > 1:
        found.append("Timings of several machines stand side by side: compare within one only.")
    unreadable = frame.attrs.get("unreadable", [])
    if len(unreadable) > 1:
        found.append(f"{len(unreadable)} files of the store could not be read and are left out.")
    found += [f"The file {part} could not be read and is left out: {reason}" for part, reason in unreadable[:MOST]]
    found += _lost_maps(frame)
    return tuple(Caveat(kind="warning", text=text) for text in dict.fromkeys(found))


def faint_mixers(frame: pd.DataFrame) -> list[str]:
    """A line on the models whose mixers hardly take part, with the remedy; none where all do."""
    shares: dict[str, float] = frame.attrs.get("faint_mixers", {})
    if not shares:
        return []
    first = next(iter(shares))
    base = first.partition(" (")[0]
    scaled = f"{base[:-1]},layer_scale=1]" if base.endswith("]") else f"{base}[layer_scale=1]"
    names = list(shares)[: 3 if len(shares) > 4 else 4]
    who = listed(names if len(shares) <= 4 else [*names, f"{len(shares) - 3} more"])
    most = f"{100 * max(shares.values()):.2g} %"
    return [
        f"the mixers of {who} contribute less than 1 % of the residual stream (at most {most}), so these models hardly "
        f"show their mixers; begin with a larger layer scale, as in {scaled}, or train longer"
    ]


def _lost_maps(frame: pd.DataFrame) -> list[str]:
    """A line on files of maps that figures need and that are gone or cut short."""
    files = frame.loc[frame["artifact"].str.endswith(".npz", na=False), "artifact"].unique()
    lost = [Path(str(file)) for file in files if not zipfile.is_zipfile(str(file))]
    if not lost:
        return []
    count = f"{len(lost)}, such as {lost[0].name}"
    return [f"Files of maps that are missing or damaged: {count}; their pictures are left out."]


def wide(frame: pd.DataFrame) -> list[tuple[list[str], str]]:
    """(pairs of models, why) of the ratios with too wide an interval; each pair once, pairs of one reason together."""
    names = labels(frame)
    reasons: dict[str, dict[str, None]] = {}
    seen: set[frozenset[str]] = set()
    rows = frame[
        (frame["status"].isin(("imprecise", "inconclusive"))) & (frame["kind"] == "summary") & frame["baseline"].notna()
    ]
    for row in rows.to_dict("records"):
        model, other = names[row["model"]], names.get(row["baseline"], row["baseline"])
        if frozenset((model, other)) not in seen:
            seen.add(frozenset((model, other)))
            reason = "" if pd.isna(row["reason"]) else str(row["reason"])
            reasons.setdefault(reason, {})[f"{model} and {other}"] = None
    return [(list(pairs), reason) for reason, pairs in reasons.items()]


def troubles(frame: pd.DataFrame) -> list[Issue]:
    """Failed and skipped units with their reasons."""
    rows = frame[frame["status"].isin(("failed", "skipped"))]
    counted: dict[tuple[str, str, str], int] = {}
    for row in rows.to_dict("records"):
        model = "the machine" if pd.isna(row["model"]) else str(row["model"])
        key = (model, str(row["status"]), str(row["reason"]))
        counted[key] = counted.get(key, 0) + 1
    return [
        Issue(model=model, status=status, reason=reason, times=times)
        for (model, status, reason), times in counted.items()
    ]


def untrained(frame: pd.DataFrame) -> list[str]:
    """Short names of the models with random weights."""
    names = labels(frame)
    return [names[str(model)] for model in frame.loc[are_random(frame["weights"]), "model"].dropna().unique()]


def _pairs(what: list[str], why: str) -> Caveat:
    shown = "; ".join(what) if len(what) <= FEW else f"{len(what)} pairs of models, among them {'; '.join(what[:3])}"
    return Caveat(kind="imprecise", text=f"{shown}: {why}" if why else shown)


def _few_rounds(frame: pd.DataFrame) -> list[Caveat]:
    """Models that were timed in too few rounds, those with as many together."""
    timed = frame[(frame["metric"] == "throughput") & (frame["kind"] == "summary") & (frame["analysis"] == "profile")]
    rows = timed[timed["value"].notna() & (timed["num_samples"] < FEWEST_ROUNDS)]
    together: dict[int, dict[str, None]] = {}
    names = labels(rows)
    for model, count in zip(rows["model"].astype(str), rows["num_samples"].astype(int), strict=True):
        together.setdefault(count, {})[names[model]] = None
    found = [(listed(models), few_rounds(count)) for count, models in together.items()]
    return [Caveat(kind="few rounds", text=f"{who}: {why}") for who, why in found]


def _reasons(rows: pd.DataFrame, kind: Kind) -> list[Caveat]:
    names = labels(rows)
    found: dict[str, dict[str, None]] = {}
    for row in rows.to_dict("records"):
        model = "" if pd.isna(row["model"]) else names[str(row["model"])]
        found.setdefault("" if pd.isna(row["reason"]) else str(row["reason"]), {})[model] = None
    return [Caveat(kind=kind, text=f"{listed(models)}: {reason}") for reason, models in found.items()]


def _few(found: list[Caveat], kind: Kind | str) -> list[Caveat]:
    if len(found) <= MOST:
        return found
    rest = Caveat(kind=found[0].kind, text=f"... and {len(found) - MOST} more that are {kind}; the store has them all.")
    return [*found[:MOST], rest]
