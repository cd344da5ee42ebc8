"""A comparison for a terminal, for a pull request, and for a program."""

from __future__ import annotations

import json

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stmbench.reporting.formats.markdown import escaped
from stmbench.tables.comparison_result import VERDICTS, Comparison, Finding

STYLES = {"worse": "bold red", "failed": "red", "inconclusive": "yellow", "better": "green", "same": ""}
MARKS = {"worse": "🔴", "failed": "⚠️", "inconclusive": "⚪", "better": "🟢", "same": "✅"}
WIDEST = 44  # characters of a model's name in a line


def terminal(comparison: Comparison) -> RenderableType:
    """The headline, what changed, and a line for each finding; for `rich.console.Console.print`."""
    shared = _shared_conditions(comparison)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("verdict", no_wrap=True)
    table.add_column("model", max_width=WIDEST, overflow="fold")
    table.add_column("metric", overflow="fold")
    table.add_column("head / base\n95 % interval", justify="right", no_wrap=True)
    table.add_column("min.\ndetectable", justify="right", no_wrap=True)
    for finding in comparison.findings:
        metric = Text(finding.metric)
        if finding.conditions and not shared:
            metric.append(f"\n{finding.conditions}", style="dim")
        effect = Text(change(finding))
        if (ends := interval(finding)) is not None:
            effect.append(f"\n{ends}", style="dim")
        verdict = Text(finding.verdict, style=STYLES[finding.verdict])
        table.add_row(verdict, Text(finding.model), metric, effect, detectable(finding))
    lines = [Text(headline(comparison), style="bold")]
    lines += [Text(line) for line in facts(comparison)]
    lines += [Text(f"all: {shared}")] if shared else []
    notes = [Text(line, style="dim") for line in [*reasons(comparison), *comparison.notes, *legend(comparison)]]
    return Group(*lines, Text(), table, Text(), *notes)


def markdown(comparison: Comparison) -> str:
    """The same as GitHub's Markdown: what needs a reader's eye in a table, the rest folded away."""
    shared = _shared_conditions(comparison)
    lines = [f"### {escaped(headline(comparison))}", ""]
    lines += [f"- {escaped(line)}" for line in facts(comparison)]
    lines += [f"- all: {escaped(shared)}"] if shared else []
    loud = [finding for finding in comparison.findings if finding.verdict != "same"]
    quiet = [finding for finding in comparison.findings if finding.verdict == "same"]
    if loud:
        lines += ["", *_markdown_table(loud, with_conditions=not shared)]
    if quiet:
        lines += ["", f"<details><summary>{len(quiet)} the same within the margin</summary>", ""]
        lines += [*_markdown_table(quiet, with_conditions=not shared), "", "</details>"]
    notes = [*reasons(comparison), *comparison.notes]
    if notes:
        lines += ["", *(f"- {escaped(line)}" for line in notes)]
    lines += ["", f"<sub>{' '.join(escaped(line) for line in legend(comparison))}</sub>"]
    return "\n".join(lines) + "\n"


def as_json(comparison: Comparison) -> str:
    """One JSON object; its fields are those of `Comparison`, `Version` and `Finding`."""
    return json.dumps(comparison.record(), indent=2, ensure_ascii=False, allow_nan=False)


def headline(comparison: Comparison) -> str:
    """How many findings have which verdict."""
    counts = comparison.count
    words = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]]
    return f"stmbench compare: {', '.join(words)}"


def facts(comparison: Comparison) -> list[str]:
    """What the versions are, and what changed between them."""
    lines = [
        f"{name}: {version.label} ({version.code})"
        for name, version in (("base", comparison.base), ("head", comparison.head))
    ]
    changes = comparison.changes
    words = [f"{what} ({'; '.join(differences)})" for what, differences in changes.items() if differences]
    same = [what for what, differences in changes.items() if not differences]
    changed = f"changed: {', '.join(words)}" if words else "changed: nothing"
    return [*lines, changed + (f"; the same: {', '.join(same)}" if same and words else "")]


def reasons(comparison: Comparison) -> list[str]:
    """Why findings failed or are inconclusive, and which were confirmed: a line for each reason, with the models."""
    found: dict[str, list[str]] = {}
    for finding in comparison.findings:
        name = f"{finding.model} ({finding.metric})"
        if finding.reason is not None:
            found.setdefault(f"{finding.verdict}: {finding.reason}", []).append(name)
        elif finding.confirmed:
            found.setdefault(f"{finding.verdict}: confirmed by a second measurement", []).append(name)
    return [
        f"{reason}: {', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''}"
        for reason, names in found.items()
    ]


def legend(comparison: Comparison) -> list[str]:
    """How to read the verdicts."""
    dropped = sum(finding.dropped or 0 for finding in comparison.findings)
    rounds = sum(finding.rounds or 0 for finding in comparison.findings if finding.dropped is not None)
    tests = sum(finding.p_value is not None for finding in comparison.findings)
    lines = [
        "A change is claimed where it is larger than the margin and its p-value, corrected by Holm's method for"
        f" {tests} test{'s' if tests != 1 else ''}, is below {comparison.alpha:g}; 'same' means that the whole 95 %"
        " interval lies within the margin.",
        "'min. detectable': the smallest true change that would be claimed 4 times out of 5.",
    ]
    if rounds:
        lines.append(f"{dropped} of {rounds + dropped} rounds were dropped because the probe was disturbed.")
    return lines


def change(finding: Finding) -> str:
    """The effect: 1.102 of a ratio, -0.0120 of a difference, a dash where there is none."""
    if finding.effect is None:
        return "–"
    return f"{finding.effect:.3f}" if finding.kind == "ratio" else f"{finding.effect:+.4f}"


def interval(finding: Finding) -> str | None:
    """The interval's ends; None for what is exact or unknown."""
    if finding.low is None or finding.high is None:
        return None
    if finding.kind == "ratio":
        return f"{finding.low:.3f} to {finding.high:.3f}"
    return f"{finding.low:+.4f} to {finding.high:+.4f}"


def detectable(finding: Finding) -> str:
    """The minimum detectable effect; 'any' for what is exact."""
    if finding.detectable is not None:
        return f"{finding.detectable:.1%}" if finding.kind == "ratio" else f"{finding.detectable:.4f}"
    return "–" if finding.effect is None or finding.verdict == "inconclusive" else "exact"


def _shared_conditions(comparison: Comparison) -> str:
    """The conditions, where all findings have the same."""
    found = {finding.conditions for finding in comparison.findings}
    return next(iter(found)) if len(found) == 1 else ""


def _markdown_table(findings: list[Finding], *, with_conditions: bool) -> list[str]:
    heads = ["", "model", "metric", *(["conditions"] if with_conditions else []), "head / base", "95 %"]
    heads.append("min. detectable")
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for finding in findings:
        cells = [f"{MARKS[finding.verdict]} {finding.verdict}", escaped(finding.model), escaped(finding.metric)]
        cells += [escaped(finding.conditions)] if with_conditions else []
        cells += [change(finding), interval(finding) or "", detectable(finding)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
