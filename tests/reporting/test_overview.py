"""The grid of all models against a baseline: what its cells say, and how they are coloured."""

from __future__ import annotations

import re
from pathlib import Path

from stmbench.reporting import build_report
from stmbench.reporting.content import Section
from stmbench.reporting.formats.html import html
from stmbench.reporting.formats.markdown import markdown
from stmbench.reporting.overview import overview_section, sentence, verdict_section
from stmbench.tables.comparison_result import Finding
from tests.tables.frames import profile_frame

BASE, BETTER, WORSE, OPEN = (f"unified_{name}_micro" for name in ("halo_attn", "dw_conv", "dcnv3", "sw_attn"))
COLOURS = re.compile(r"--(better|worse|neutral|same|ground|ink): light-dark\((#\w{6}), (#\w{6})\)")


def finding(model: str, metric: str, verdict: str, base: float, head: float, **more: object) -> Finding:
    reason = {"reason": "the change may be chance"} if verdict == "inconclusive" else {}
    fields = {"effect": head - base, "low": head - base - 0.01, "high": head - base + 0.01, "kind": "difference"}
    return Finding(model=model, metric=metric, verdict=verdict, base=base, head=head, **{**fields, **reason, **more})  # type: ignore[arg-type]


FINDINGS = {
    BETTER: [
        finding(BETTER, "accuracy", "better", 0.7, 0.75, lower_is_better=False, conditions="50 images"),
        finding(BETTER, "ERF@50, last stage", "worse", 0.6, 0.4, lower_is_better=False, has_direction=False),
        finding(BETTER, "params", "same", 4e6, 4e6, kind="ratio", effect=1.0, low=None, high=None, unit="count"),
    ],
    WORSE: [finding(WORSE, "accuracy", "worse", 0.7, 0.6, lower_is_better=False, conditions="50 images")],
    OPEN: [finding(OPEN, "accuracy", "inconclusive", 0.7, 0.71, lower_is_better=False, conditions="50 images")],
}


def section() -> Section:
    found = overview_section(profile_frame(raw=False), BASE, FINDINGS)
    assert found is not None
    return found


def test_average_precision_leads_to_its_section() -> None:
    (item,) = [finding(BETTER, "box AP", "better", 0.3, 0.4, lower_is_better=False)]
    found = overview_section(profile_frame(raw=False), BASE, {BETTER: [item]})
    assert found is not None
    (_, column) = found.tables[0].columns
    assert (column.heading, column.section) == ("Box AP", "detection")
    assert found.tables[0].lines[1].cells[1].text == "40.0 %"


def test_cells_hold_value_verdict_and_interval() -> None:
    (table,) = section().tables
    assert [column.heading for column in table.columns] == ["Model", "Accuracy", "ERF@50, last stage", "Parameters"]
    assert [(column.unit, column.section) for column in table.columns[1:]] == [
        ("50 images", "eval"),
        ("", "erf"),
        ("", "profile"),
    ]
    rows = {line.cells[0].text: line for line in table.lines}
    assert [*rows] == ["Halo-Attn", "SW-Attn", "DW-Conv", "DCNv3"], (
        "the baseline first, the others in the store's order"
    )
    assert [cell.mark for cell in rows["Halo-Attn"].cells] == [None, "baseline", "baseline", "baseline"]
    assert [(cell.text, cell.below, cell.mark) for cell in rows["DW-Conv"].cells[1:]] == [
        ("75.0 %", "better, +5.0 points (+4.0 to +6.0)", "better"),
        ("0.400 of the input's side", "smaller, -0.20 (-0.21 to -0.19)", "neutral"),
        ("4.00 M", "the same, 1.00×", "same"),
    ]
    assert [(cell.text, cell.mark) for cell in rows["DCNv3"].cells[1:]] == [
        ("60.0 %", "worse"),
        ("–", None),
        ("–", None),
    ]
    assert rows["SW-Attn"].cells[1].mark == "inconclusive"
    assert rows["DW-Conv"].model == "unified_dw_conv_micro", "its switch hides it"
    assert section().lead == "Against Halo-Attn: 1 better, 1 worse; 3 of 5 differences are resolved."


def test_overview_precedes_the_summary_and_links_to_sections() -> None:
    report = build_report(profile_frame(raw=False), first=(section(),))
    page = html(report)
    assert 0 < page.index('id="section-1">Overview') < page.index('id="summary"')
    (target,) = re.findall(r'href="#([^"]+)" aria-label="Parameters: details"', page)
    assert f'<h2 id="{target}">Cost and speed</h2>' in page
    assert 'aria-label="Accuracy: details"' not in page, "this report has no such section"
    assert report.tables[0].name == "overview", "tables are numbered in the order of the page"
    text = markdown(report)
    assert text.index("## Overview") < text.index("* **Cost and speed**")
    assert "75.0 %<br><sub>better, +5.0 points (+4.0 to +6.0)</sub>" in text


def test_without_findings_there_is_no_overview() -> None:
    assert overview_section(profile_frame(raw=False), BASE, {BETTER: []}) is None


def test_text_on_coloured_cells_has_contrast() -> None:
    style = (Path(html.__code__.co_filename).parent.parent / "templates" / "report.css").read_text(encoding="utf-8")
    colours = {name: (light, dark) for name, light, dark in COLOURS.findall(style)}
    assert {*colours} == {"better", "worse", "neutral", "same", "ground", "ink"}
    for theme in (0, 1):
        for name in ("better", "worse", "neutral", "same", "ground"):
            assert _contrast(colours["ink"][theme], colours[name][theme]) >= 4.5, (name, theme)


def _contrast(one: str, other: str) -> float:
    """WCAG 2's ratio of two colours."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_sentence_names_resolved_quantities_and_counts_the_rest() -> None:
    found = [
        Finding(model="m", metric="accuracy", verdict="better", kind="difference", lower_is_better=False),
        Finding(model="m", metric="macs", verdict="worse"),
        Finding(model="m", metric="throughput", verdict="worse", lower_is_better=False),
        Finding(model="m", metric="ERF@50, last stage", verdict="better", has_direction=False, lower_is_better=False),
        Finding(model="m", metric="rotation consistency", verdict="inconclusive", reason="chance"),
        Finding(model="m", metric="scale consistency", verdict="inconclusive", reason="chance"),
    ]
    assert sentence("Mine", "Theirs", found) == (
        "Against Theirs, Mine is better in accuracy; worse in MACs and throughput; larger in ERF@50, last stage; "
        "inconclusive in 2 quantities."
    )
    assert sentence("Mine", "Theirs", []) == "Nothing compares Mine with Theirs."
    section = verdict_section("Mine", {"Theirs": found, "Others": found[:1]}, ["A note."])
    assert section.leads
    assert [column.heading for column in section.tables[0].columns] == [
        "Quantity", "Mine", "against Theirs", "against Others"
    ]  # fmt: skip
    assert [cell.text for cell in section.tables[0].lines[1].cells[2:]] == ["worse", "–"]
    assert [line.cells[2].mark for line in section.tables[0].lines] == [
        "better", "worse", "worse", "neutral", "inconclusive", "inconclusive"
    ]  # fmt: skip
