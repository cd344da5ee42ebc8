"""Two stores compared: `stmbench compare BASE HEAD`.

Two runs on a shared machine are not two rounds of one run: only changes of speed that exceed the difference between
runs are claimed (`stored_profile`). To resolve smaller ones, compare live.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from stmbench.comparison.findings import COST_MARGIN, Measured, adjudicate, machine_text
from stmbench.comparison.stored_profile import costs, speed
from stmbench.comparison.stored_quality import quality
from stmbench.errors import ConfigError, TableError
from stmbench.measure.effects import ALPHA
from stmbench.tables import Store
from stmbench.tables.comparison_result import Comparison, Version
from stmbench.tables.trainings import configuration_changes

SPEED_MARGIN = 0.15
QUALITY_MARGIN = 0.005
MEMORY_MARGIN = 0.05  # an allocator that rounds differently is no regression


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredConfig:
    """Margins within which two stores count as the same: relative for times and costs, absolute for quality."""

    speed_margin: float = SPEED_MARGIN
    quality_margin: float = QUALITY_MARGIN
    cost_margin: float = COST_MARGIN
    memory_margin: float = MEMORY_MARGIN
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("speed", "quality", "cost", "memory"):
            value = getattr(self, f"{name}_margin")
            if not 0 <= value < 1:
                raise ConfigError(f"a margin for {name} from 0 to below 1", f"{value:g}", "3 % is 0.03")


def compare_stores(base: Path, head: Path, config: StoredConfig) -> Comparison:
    """Compare everything that both stores hold.

    Raises:
        TableError: not a store, an empty one, only failed units, a newer schema, or nothing in common.
    """
    stores = Store(base), Store(head)
    frames = (_read(stores[0]), _read(stores[1]))
    _require_common_models(frames, (base, head))
    findings = adjudicate(
        [
            *speed(frames, margin=config.speed_margin, seed=config.seed),
            *costs(frames, margin=config.cost_margin, memory_margin=config.memory_margin),
            *quality(frames, (base, head), margin=config.quality_margin),
            *_failures(frames),
        ]
    )
    if not findings:
        raise TableError(
            "one metric under the same conditions in both stores",
            f"other conditions in {str(head)!r} than in {str(base)!r}",
            "run the same commands for both (resolution, dtype, data set, images, seed)",
        )
    versions = [_version(frame, folder) for frame, folder in zip(frames, (base, head), strict=True)]
    return Comparison(
        mode="stored",
        base=versions[0],
        head=versions[1],
        findings=findings,
        alpha=ALPHA,
        notes=tuple(_notes(frames, (base, head))),
    )


def _read(store: Store) -> pd.DataFrame:
    frame = store.read()
    if frame.empty:
        unreadable = frame.attrs["unreadable"]
        got = f"{len(unreadable)} files that cannot be read" if unreadable else "none"
        raise TableError(f"rows in the store {str(store.folder)!r}", got, "measure something with --out")
    if not frame["status"].isin(("ok", "imprecise", "inconclusive")).any():
        reason = frame["reason"].dropna()
        got = f"only failed units ({reason.iloc[0]})" if len(reason) else "only failed units"
        raise TableError(f"a unit in {str(store.folder)!r} that worked", got, "fix the cause and measure again")
    return frame


def _require_common_models(frames: tuple[pd.DataFrame, ...], folders: tuple[Path, Path]) -> None:
    names = [set(frame["model"].dropna()) for frame in frames]
    if not names[0] & names[1]:
        got = " against ".join(_few(sorted(models)) for models in names)
        raise TableError("stores that share a model", got, "name two stores of the same models")


def _failures(frames: tuple[pd.DataFrame, ...]) -> list[Measured]:
    """Models that failed in one store but not in the other, or in both, in a metric without any value there."""
    failures = []
    keys = ["analysis", "model", "metric"]
    failed = [frame[(frame["status"] == "failed") & frame["model"].notna()] for frame in frames]
    worked = [set(frame[frame["value"].notna()][keys].itertuples(index=False, name=None)) for frame in frames]
    reasons: list[Mapping[tuple[Any, ...], str]] = [
        {tuple(row[:3]): row[3] for row in frame[[*keys, "reason"]].fillna("").itertuples(index=False, name=None)}
        for frame in failed
    ]
    for key in dict.fromkeys([*reasons[0], *reasons[1]]):
        sides = [key in reasons[side] and key not in worked[side] for side in (0, 1)]
        if not any(sides):
            continue
        where = "both" if all(sides) else ("base", "head")[sides.index(True)]
        if where != "both" and key not in worked[1 - sides.index(True)]:
            continue  # never tried in the other store
        reason = reasons[sides.index(True)][key]
        text = f"failed in {where}: {reason}"
        failures.append(Measured(model=key[1], metric=key[2] or key[0], failed=where, reason=text))
    return failures


def _version(frame: pd.DataFrame, folder: Path) -> Version:
    attrs = frame.attrs
    commits = [commit for commit in attrs["commits"] if commit != "unknown"]
    software = attrs["software"][-1] if attrs["software"] else {}
    packages = tuple(
        (name, str(value)) for name, value in software.items() if value and name not in ("commit", "dirty")
    )
    return Version(
        label=str(folder),
        commit=commits[-1] if commits else None,
        dirty=any(bool(one.get("dirty")) for one in attrs["software"]),
        software=packages,
        machine="; ".join(dict.fromkeys(map(machine_text, attrs["machines"]))) or None,
    )


def _notes(frames: tuple[pd.DataFrame, ...], folders: tuple[Path, Path]) -> list[str]:
    notes = []
    models = [set(frame["model"].dropna()) for frame in frames]
    for name, frame, folder, own, other in zip(("base", "head"), frames, folders, models, models[::-1], strict=True):
        if own - other:
            notes.append(f"only in {name}: {_few(sorted(own - other))}")
        if len(frame.attrs["commits"]) > 1:
            commits = ", ".join(commit[:12] for commit in frame.attrs["commits"])
            notes.append(f"{folder} holds rows of {len(frame.attrs['commits'])} commits ({commits}), which are pooled")
        notes += [f"{folder}: skipped the file {part}: {reason}" for part, reason in frame.attrs["unreadable"]]
        notes += [f"while {name} was measured, {warning}" for warning in frame.attrs["warnings"]]
    weights = [_weights(frame) for frame in frames]
    for model in sorted(weights[0].keys() & weights[1].keys()):
        if weights[0][model] != weights[1][model]:
            notes.append(f"{model}: weights {_few(weights[0][model])} at base, {_few(weights[1][model])} at head")
    for what, differing in configuration_changes(*frames).items():
        notes.append(f"trained differently: {what} ({_few(differing)})")
    return notes


def _weights(frame: pd.DataFrame) -> dict[str, list[str]]:
    """model -> the weights it was measured with; profiles, which do not depend on them, are ignored."""
    rows = frame[(frame["analysis"] != "profile") & frame["model"].notna() & frame["weights"].notna()]
    return {str(model): sorted(group["weights"].unique()) for model, group in rows.groupby("model")}


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "none"
