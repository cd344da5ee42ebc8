"""All models of a store against one of them: which one, and in what they are compared."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from stmbench.comparison.models import ModelComparison
from stmbench.errors import UnknownNameError
from stmbench.tables.comparison_result import Finding

CONTROL: Final = "identity"  # the mixer that mixes nothing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overview:
    """Names of models, as in the table; `findings` of each of the others against `baseline`."""

    baseline: str
    findings: Mapping[str, tuple[Finding, ...]]


def baseline_of(frame: pd.DataFrame) -> str:
    """The control that the rows name, if it is one; else the model without mixing; else the first model.

    Raises:
        IndexError: a table without models.
    """
    models = list(frame["model"].dropna().unique())
    named = set(frame["baseline"].dropna()) & set(models)
    controls = frame.loc[(frame["mixer"] == CONTROL) & frame["model"].notna(), "model"].unique()
    if len(named) == 1:
        return str(next(iter(named)))
    return str(controls[0] if len(controls) else models[0])


def overview(frame: pd.DataFrame, folder: Path, baseline: str | None = None) -> Overview | None:
    """Every other model against the baseline; None where there are not two models.

    A quantity in several settings, such as throughput at two sizes, is compared in that of most models.

    Args:
        folder: where artifacts are, unless their paths are absolute.
        baseline: name of a model or of the mixer of one; default: `baseline_of`.

    Raises:
        UnknownNameError: no model of that name.
    """
    models = [str(name) for name in frame["model"].dropna().unique()]
    if baseline is not None:
        baseline = _named(frame, models, baseline)
    if len(models) < 2:
        return None
    chosen = baseline or baseline_of(frame)
    pairs = ModelComparison(frame, folder)
    found = {model: pairs.findings(model, chosen) for model in models if model != chosen}
    return Overview(baseline=chosen, findings=_in_one_setting(found))


def _named(frame: pd.DataFrame, models: Sequence[str], name: str) -> str:
    if name in models:
        return name
    of_mixer = frame.loc[(frame["mixer"] == name) & frame["model"].notna(), "model"].unique()
    if len(of_mixer) == 1:
        return str(of_mixer[0])
    raise UnknownNameError("model of the store", name, models)


def _in_one_setting(found: Mapping[str, Sequence[Finding]]) -> dict[str, tuple[Finding, ...]]:
    """Of each model at most one finding of each quantity, in the setting that most models have."""
    settings: dict[str, Counter[str]] = {}
    for item in (item for items in found.values() for item in items):
        settings.setdefault(item.metric, Counter())[item.conditions] += 1
    kept: dict[str, tuple[Finding, ...]] = {}
    for model, items in found.items():
        best: dict[str, Finding] = {}
        for item in items:
            counts = settings[item.metric]
            if item.metric not in best or counts[item.conditions] > counts[best[item.metric].conditions]:
                best[item.metric] = item
        kept[model] = tuple(best.values())
    return kept
