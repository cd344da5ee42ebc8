"""What the page's script draws from: commits once a machine, values as base64 of 32-bit floats."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stmbench.figures.palette import DARK, style_of
from stmbench.history.change_points import Floats
from stmbench.history.series import Event, MachineSeries, Series, events_of
from stmbench.reporting.dashboard import labels
from stmbench.tables.rows import Display, printable_in


def payload(machines: Sequence[MachineSeries], *, commit_url: str | None) -> dict[str, Any]:
    """The page's data, as JSON can hold it. Values are in display units.

    Args:
        commit_url: address of a commit's page, with {commit} for its SHA.
    """
    return {"commitUrl": commit_url, "machines": printable_in([_machine(machine) for machine in machines])}


def script_text(data: object) -> str:
    """JSON that can stand inside a script element: no text in it can end the element or open a comment."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _machine(machine: MachineSeries) -> dict[str, Any]:
    places = {id(series): number for number, series in enumerate(machine.series)}
    sha_places = {facts.commit: number for number, facts in enumerate(machine.commits)}
    shown = labels.displays(machine)
    return {
        "id": machine.machine,
        "name": name_of(machine),
        "commits": [
            [facts.commit, int(facts.date.timestamp()), facts.subject, int(facts.changed)] for facts in machine.commits
        ],
        "series": [_series(series, machine, shown[series.key.metric]) for series in machine.series],
        "events": [_event(event, shown[event.series.key.metric], places, sha_places) for event in events_of(machine)],
        "notes": [*(f"skipped {text}" for text in machine.unreadable), *(f"failed {text}" for text in machine.failed)],
    }


def name_of(machine: MachineSeries) -> str:
    """A machine in words: its processor or accelerators, and its identifier."""
    facts = machine.facts
    what = ", ".join(map(str, facts.get("gpus") or [])) or facts.get("cpu") or "machine"
    cores = f", {facts['cores']} cores" if facts.get("cores") and not facts.get("gpus") else ""
    return f"{what}{cores} ({machine.machine})"


def _series(series: Series, machine: MachineSeries, how: Display) -> dict[str, Any]:
    subject = series.key
    colour = style_of(subject.mixer or subject.model or "", machine.mixers).colour
    # of a relative metric the noise is a share of its level
    noise = series.fit.noise * (max(series.fit.levels, default=0.0) if series.metric.relative else 1.0) / how.factor
    has_interval = bool(np.isfinite(series.low).any())
    return {
        "model": subject.model,
        "mixer": subject.mixer or "",
        "metric": subject.metric,
        "title": how.name,
        "unit": how.unit,
        "decimals": how.decimals,
        "better": series.metric.better,
        "where": labels.conditions(subject),
        "probe": int(series.by_probe),
        "colour": colour,
        "dark": DARK[colour],
        "values": packed(series.values / how.factor),
        "low": packed(series.low / how.factor) if has_interval else None,
        "high": packed(series.high / how.factor) if has_interval else None,
        "noise": 0.0 if math.isnan(noise) else noise,
        "starts": list(series.fit.starts),
        "levels": [level / how.factor for level in series.fit.levels],
    }


def _event(event: Event, how: Display, places: dict[int, int], sha_places: dict[str, int]) -> dict[str, Any]:
    before, after = labels.before_and_after(event, how)
    return {
        "series": places[id(event.series)],
        "commit": event.change_point.position,
        "first": sha_places[event.suspects[0].commit],
        "last": sha_places[event.suspects[-1].commit],
        "before": before,
        "after": after,
        "change": labels.change(event),
        "verdict": labels.verdict(event),
        "worse": {True: 1, False: -1, None: 0}[event.worse],
    }


def packed(values: Floats) -> str:
    """(n,) little-endian 32-bit floats in base64; seven digits are enough for the eye."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")
