"""The first thing a reader sees: what was compared, on what machine, what came out, and what to be wary of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from stmbench.figures.points import labels
from stmbench.figures.quantities import number
from stmbench.reporting.overview import Line, Trouble, baseline, troubles, unresolved


@dataclasses.dataclass(frozen=True, kw_only=True)
class Headline:
    """A model's throughput as a multiple of the first model's, ready to print."""

    label: str
    ratio: str
    interval: str
    verdict: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """Texts of the summary; the template escapes them."""

    lead: str
    baseline: str | None
    headlines: list[Headline]
    facts: list[tuple[str, str]]
    warnings: list[str]
    unresolved: list[tuple[str, str]]
    troubles: list[Trouble]


def summarise(frame: pd.DataFrame, overview: list[Line], metadata: Mapping[str, Any]) -> Summary:
    """Everything the page says in words.

    Args:
        metadata: `machine` and `software` (mappings), `commit`, `command`, `warnings` (list of text), all optional;
            what is missing is taken from `frame.attrs`.
    """
    first = baseline(frame)
    return Summary(
        lead=_lead(overview),
        baseline=None if first is None else labels(frame)[first],
        headlines=_headlines(overview),
        facts=_facts(frame, metadata),
        warnings=_warnings(frame, metadata),
        unresolved=unresolved(frame),
        troubles=troubles(frame),
    )


def _lead(overview: list[Line]) -> str:
    timed = sorted((line for line in overview if line.throughput), key=lambda line: -_value(line.throughput))
    if not timed:
        count = len(overview)
        return f"{count} {'model was' if count == 1 else 'models were'} counted; no timings were taken."
    best = timed[0]
    several = len(timed) > 1
    text = f"{best.label} has the highest throughput of {len(timed)}" if several else f"{best.label} was timed"
    text += f": {number(_value(best.throughput), 'throughput')} images/s"
    if best.throughput is not None and best.throughput.errors is not None:
        low, high = number(best.throughput.low, "throughput"), number(best.throughput.high, "throughput")
        text += f" (95 % interval {low} to {high})"
    if several:
        last = timed[-1]
        text += f", {_value(best.throughput) / _value(last.throughput):.2f} times that of {last.label}, the lowest"
    if several and best.rank is not None and best.rank.level == 1:
        text += f". It is the fastest with a probability of {number(best.rank.value, 'rank_probability')} %"
    return f"{text}."


def _headlines(overview: list[Line]) -> list[Headline]:
    found = []
    for line in sorted(overview, key=lambda line: -_value(line.ratio)):
        if (ratio := line.ratio) is None:
            continue
        if not ratio.resolved:
            verdict = "not resolved"
        elif ratio.errors is None:
            verdict = "no interval"
        else:
            verdict = "faster" if ratio.low > 1 else "slower" if ratio.high < 1 else "no difference shown"
        low, high = number(ratio.low, "throughput_ratio"), number(ratio.high, "throughput_ratio")
        interval = "–" if ratio.errors is None else f"{low} to {high}"
        found.append(
            Headline(
                label=line.label, ratio=number(ratio.value, "throughput_ratio"), interval=interval, verdict=verdict
            )
        )
    return found


def _facts(frame: pd.DataFrame, metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    times = frame["created_utc"]
    facts = [("Measured", _period(times.min(), times.max())), ("Machine", _machine(frame, metadata))]
    for name, column, suffix in (
        ("Device", "device", ""),
        ("Precision", "dtype", ""),
        ("Input", "resolution", " px"),
        ("Weights", "weights", ""),
        ("Protocol", "definition", ""),
    ):
        values = [f"{value}{suffix}" for value in frame[column].dropna().unique()]
        facts.append((name, ", ".join(values)))
    if any(str(value).startswith("random:") for value in frame["weights"].dropna().unique()):
        facts[-2] = ("Weights", f"{facts[-2][1]} (never trained: cost does not depend on them, quality would)")
    facts.append(("Software", _software(frame, metadata)))
    commits = [str(commit)[:12] for commit in frame.attrs.get("commits", {}) if commit != "unknown"]
    if commits and any(one.get("dirty") for one in frame.attrs.get("software", [])):
        commits[-1] += " with uncommitted changes"
    facts.append(("Commit", str(metadata.get("commit") or ", ".join(commits))[:60]))
    facts.append(("Command", str(metadata.get("command") or "")))
    return [(name, text) for name, text in facts if text]


def _machine(frame: pd.DataFrame, metadata: Mapping[str, Any]) -> str:
    machines = [metadata["machine"]] if metadata.get("machine") else frame.attrs.get("machines", [])
    return "; ".join(_machine_words(machine) for machine in machines)


def _machine_words(machine: Any) -> str:
    if not isinstance(machine, Mapping):
        return str(machine)
    words = [str(machine[name]) for name in ("cpu",) if machine.get(name)]
    words += [f"{machine['logical_cores']} logical cores"] if machine.get("logical_cores") else []
    words += [f"{machine['memory_gib']} GiB"] if machine.get("memory_gib") else []
    words += [str(gpu) for gpu in machine.get("gpus") or []]
    words += [str(machine["system"])] if machine.get("system") else []
    return ", ".join(words)


def _software(frame: pd.DataFrame, metadata: Mapping[str, Any]) -> str:
    listed = [metadata["software"]] if metadata.get("software") else frame.attrs.get("software", [])
    names = ("stmbench", "python", "torch", "torchvision", "timm", "cuda")
    words = [", ".join(f"{name} {one[name]}" for name in names if one.get(name)) for one in listed]
    return "; ".join(dict.fromkeys(words))


def _warnings(frame: pd.DataFrame, metadata: Mapping[str, Any]) -> list[str]:
    found = [str(text) for text in [*frame.attrs.get("warnings", []), *(metadata.get("warnings") or [])]]
    commits = frame.attrs.get("commits", {})
    if len(commits) > 1:
        shares = ", ".join(f"{str(commit)[:12]} ({rows} rows)" for commit, rows in commits.items())
        found.append(f"Rows of {len(commits)} commits stand side by side: {shares}.")
    if len(frame.attrs.get("machines", [])) > 1:
        found.append("Timings of several machines stand side by side: compare within one only.")
    found += [f"The part {part} could not be read: {reason}" for part, reason in frame.attrs.get("unreadable", [])]
    return list(dict.fromkeys(found))


def _period(start: pd.Timestamp, end: pd.Timestamp) -> str:
    if end - start < pd.Timedelta("1min"):
        return f"{start:%Y-%m-%d %H:%M} UTC"
    same_day = start.date() == end.date()
    return f"{start:%Y-%m-%d %H:%M} to {end:{'%H:%M' if same_day else '%Y-%m-%d %H:%M'}} UTC"


def _value(point: Any) -> float:
    return float("-inf") if point is None else float(point.value)
