"""What a reader asks first: which model is better, in what, and is that resolved?

`verdict_section` answers for one model against several baselines, `overview_section` for all models against one. Both
are drawn from findings: comparisons of two models of one store, made by `comparison.models`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd

from stmbench.figures.plot_data import labels
from stmbench.reporting.content import Cell, Column, Mark, Row, Section, Table
from stmbench.tables.comparison_result import Finding
from stmbench.tables.rows import display, number

# quantity (what its title begins with) -> the section that has the rest
SECTIONS: Final = {
    "accuracy under attack": "robustness",
    "accuracy": "eval",
    "box AP": "detection",
    "mask AP": "detection",
    "ERF": "erf",
    "translation": "invariance_translation",
    "rotation": "invariance_rotation",
    "scale": "invariance_scale",
    **{f"box consistency, {kind}": f"box_consistency_{kind}" for kind in ("translation", "rotation", "scale")},
    "throughput": "profile",
    "latency": "profile",
    "peak memory": "profile",
    "parameters": "profile",
    "macs": "profile",
}
# unit -> the metric whose display unit and decimals a finding in this unit has
SHOWN_AS: Final = {
    "1": "accuracy", "images/s": "throughput", "s": "latency", "bytes": "peak_memory", "count": "params", "MAC": "macs"
}  # fmt: skip
TITLES: Final = {"params": "parameters", "macs": "MACs"}
HOW: Final = (
    "Differences are paired: speeds by round, everything else by image and by training seed. 'Better' and 'worse' hold "
    "for a whole comparison of two models with an error rate of 5 % (Holm's correction); 'the same' means that the "
    "whole 95 % interval lies within the margin (2 % of speed, memory and cost, 0.1 points of a share); the rest is "
    "inconclusive."
)


def title_of(finding: Finding) -> str:
    """The quantity, as a heading."""
    text = TITLES.get(finding.metric, finding.metric)
    return text[:1].upper() + text[1:] if not text.startswith(("ERF", "MAC")) else text


def mark_of(finding: Finding) -> Mark:
    """How a cell is coloured."""
    if finding.verdict in ("better", "worse"):
        return finding.verdict if finding.has_direction else "neutral"
    return "same" if finding.verdict == "same" else "inconclusive"


def value_text(value: float, finding: Finding) -> str:
    """A model's value with its unit, as tables of its analysis show it."""
    metric = "erf" if finding.metric.startswith("ERF") else SHOWN_AS[finding.unit]
    how = display(metric, values=(finding.base, finding.head))
    return f"{number(value, metric, how)} {how.unit}"


def effect_text(finding: Finding) -> str:
    """The effect with its 95 % interval: +1.2 points (0.3 to 2.1); 0.87× (0.85 to 0.90)."""
    if finding.effect is None:
        return finding.reason or ""
    if finding.kind == "ratio":
        ends = "" if finding.low is None else f" ({finding.low:.2f} to {finding.high:.2f})"
        return f"{finding.effect:.2f}×{ends}"
    scale, digits, unit = (1, 2, "") if finding.metric.startswith("ERF") else (100, 1, " points")
    ends = (
        ""
        if finding.low is None
        else f" ({scale * finding.low:+.{digits}f} to {scale * (finding.high or 0):+.{digits}f})"
    )
    return f"{scale * finding.effect:+.{digits}f}{unit}{ends}"


def verdict_section(name: str, findings: Mapping[str, Sequence[Finding]], notes: Sequence[str] = ()) -> Section:
    """One model against each baseline.

    Args:
        name: the model's title.
        findings: title of a baseline -> what compares the model with it.
        notes: what was left out, and why.
    """
    quantities = list(dict.fromkeys(title_of(item) for found in findings.values() for item in found))
    lines = []
    for quantity in quantities:
        by_baseline = {
            baseline: next((item for item in found if title_of(item) == quantity), None)
            for baseline, found in findings.items()
        }
        first = next(item for item in by_baseline.values() if item is not None)
        cells = [Cell(text=quantity, detail=first.conditions)]
        cells.append(
            Cell(text="–") if first.head is None else Cell(text=value_text(first.head, first), value=first.head)
        )
        cells += [_verdict_cell(item) for item in by_baseline.values()]
        lines.append(Row(cells=tuple(cells)))
    columns = [Column(heading="Quantity", is_number=False), Column(heading=name)]
    columns += [Column(heading=f"against {baseline}", is_number=False) for baseline in findings]
    table = Table(
        name="verdict", title=f"{name} against each baseline", columns=tuple(columns), lines=tuple(lines), note=HOW
    )
    return Section(
        name="verdict",
        heading="Verdict",
        lead=" ".join(sentence(name, baseline, found) for baseline, found in findings.items()),
        conditions=" ".join(notes),
        tables=(table,),
        leads=True,
    )


def sentence(name: str, baseline: str, findings: Sequence[Finding]) -> str:
    """The answer in words: what is better and worse by name, the rest by number."""
    said = []
    for word in ("better", "worse", "larger", "smaller"):
        titles = [_in_text(item) for item in findings if item.word == word]
        said += [f"{word} in {_listed(titles)}"] if titles else []
    for word in ("the same", "inconclusive", "failed"):
        count = sum(item.word == word for item in findings)
        said += [f"{word} in {count} {'quantity' if count == 1 else 'quantities'}"] if count else []
    return f"Against {baseline}, {name} is {'; '.join(said)}." if said else f"Nothing compares {name} with {baseline}."


def overview_section(frame: pd.DataFrame, baseline: str, findings: Mapping[str, Sequence[Finding]]) -> Section | None:
    """All models by all quantities, each cell coloured by how it compares with the baseline; None without findings.

    Args:
        frame: rows of a store, for the models' titles.
        baseline: name of a model.
        findings: name of another model -> what compares it with the baseline, each quantity once.
    """
    like = {title_of(item): item for found in findings.values() for item in found}
    if not like:
        return None
    titles = labels(frame)
    order = [baseline, *(name for name in titles if name in findings)]
    lines = []
    for model in order:
        found = {title_of(item): item for item in findings.get(model, ())}
        cells = [Cell(text=titles[model], detail="baseline" if model == baseline else "")]
        cells += [
            _baseline_cell(quantity, findings) if model == baseline else _model_cell(found.get(quantity))
            for quantity in like
        ]
        lines.append(Row(cells=tuple(cells), model=model))
    columns = [Column(heading="Model", is_number=False)]
    for quantity in like:
        conditions = {item.conditions for found in findings.values() for item in found if title_of(item) == quantity}
        unit = conditions.pop() if len(conditions) == 1 else ""
        columns.append(Column(heading=quantity, unit=unit, section=section_of(quantity)))
    title = f"All models against {titles[baseline]}"
    table = Table(name="overview", title=title, columns=tuple(columns), lines=tuple(lines), note=HOW)
    marks = [mark_of(item) for found in findings.values() for item in found]
    resolved = sum(mark in ("better", "worse", "neutral") for mark in marks)
    lead = (
        f"Against {titles[baseline]}: {marks.count('better')} better, {marks.count('worse')} worse; "
        f"{resolved} of {len(marks)} differences are resolved."
    )
    return Section(name="overview", heading="Overview", lead=lead, tables=(table,), leads=True)


def _baseline_cell(quantity: str, findings: Mapping[str, Sequence[Finding]]) -> Cell:
    for item in (item for found in findings.values() for item in found if title_of(item) == quantity):
        if item.base is not None:
            return Cell(text=value_text(item.base, item), value=item.base, mark="baseline")
    return Cell(text="–", mark="baseline")


def _model_cell(item: Finding | None) -> Cell:
    if item is None or item.head is None:
        return Cell(text="–")
    effect = effect_text(item) if item.effect is not None else ""
    return Cell(text=value_text(item.head, item), word=item.word, detail=effect, value=item.head, mark=mark_of(item))


def section_of(quantity: str) -> str | None:
    """The section with the rest on a quantity."""
    return next((name for begin, name in SECTIONS.items() if quantity.lower().startswith(begin.lower())), None)


def _verdict_cell(finding: Finding | None) -> Cell:
    if finding is None:
        return Cell(text="–")
    return Cell(text=finding.word, detail=effect_text(finding), value=finding.effect, mark=mark_of(finding))


def _in_text(finding: Finding) -> str:
    title = title_of(finding)
    return title if title.startswith(("ERF", "MAC")) else title[:1].lower() + title[1:]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
