"""A comparison as a table, as Markdown and as JSON; names that mean something to Markdown or Rich do no harm."""

from __future__ import annotations

import dataclasses
import html
import io
import json
import re

import pytest
from rich.console import Console

from stmbench.reporting import comparison as pages
from stmbench.reporting.formats.markdown import escaped
from stmbench.tables.comparison_result import FORMAT, Comparison, Finding, Version

WORSE = Finding(
    model="unified_dw_conv_nano", metric="time per image", verdict="worse", conditions="batch 4, 32 px", unit="s",
    base=0.01, head=0.011, effect=1.1, low=1.09, high=1.11, margin=0.03, detectable=0.042, p_value=1e-9,
    p_corrected=2e-9, rounds=90, dropped=3, seconds=10.0,
)  # fmt: skip
SAME = dataclasses.replace(WORSE, model="unified_sw_attn_nano", verdict="same", effect=1.001, low=0.99, high=1.012)
EXACT = Finding(model="unified_dw_conv_nano", metric="macs", verdict="better", effect=0.9, base=10.0, head=9.0)
FAILED = Finding(model="unified_dcnv3_nano", metric="time per image", verdict="failed", reason="at head: out of memory")
DROP = Finding(
    model="unified_dw_conv_nano", metric="accuracy", verdict="inconclusive", kind="difference", effect=-0.01, low=-0.03,
    high=0.01, detectable=0.025, p_value=0.3, p_corrected=0.6, rounds=500, reason="the change may be chance",
)  # fmt: skip
NASTY = "a|b`c`<script>alert(1)</script>*d*[e](http://x)_f_ @someone #1 &lt; ~~g~~ $x$ [red]h[/red]\n| i"


def comparison(*findings: Finding, **fields: object) -> Comparison:
    known: dict[str, object] = {
        "base": Version(label="main", commit="a" * 40, software=(("torch", "2.5.0"),)),
        "head": Version(label="work", commit="b" * 40, software=(("torch", "2.6.0"),)),
    }
    return Comparison(**{"mode": "live", "alpha": 0.01, **known, "findings": findings, **fields})  # type: ignore[arg-type]


def text(found: Comparison, width: int = 100) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(pages.terminal(found))
    return stream.getvalue()


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_terminal_shows_regressions_changes_and_reasons() -> None:
    found = text(comparison(WORSE, FAILED, DROP, SAME, EXACT, notes=("meanwhile it rained",)))
    lines = found.splitlines()
    assert lines[0] == "stmbench compare: 1 worse, 1 failed, 1 inconclusive, 1 better, 1 same"
    assert lines[1] == f"base: main ({'a' * 12})"
    assert lines[3].startswith(
        f"changed: code ({'a' * 12} to {'b' * 12}), environment (torch 2.5.0 to 2.6.0); the same: machine"
    )
    row = next(line.split() for line in lines if line.startswith("worse"))
    assert row == ["worse", "unified_dw_conv_nano", "time", "per", "image", "1.100", "4.2%"]
    assert "1.090 to 1.110" in found
    assert "-0.0100" in found
    assert re.search(r"better .* macs .* 0\.900 +exact", found)
    assert "failed: at head: out of memory: unified_dcnv3_nano (time per image)" in found
    assert "meanwhile it rained" in found
    assert "6 of 186 rounds were dropped" in found
    assert "for 3 tests, is below 0.01" in " ".join(found.split())
    assert max(map(len, lines)) <= 100


def test_shared_conditions_are_printed_once() -> None:
    together = text(comparison(WORSE, SAME))
    assert together.count("batch 4, 32 px") == 1
    assert "all: batch 4, 32 px" in together
    assert text(comparison(WORSE, dataclasses.replace(SAME, conditions="batch 8"))).count("batch 4, 32 px") == 1
    assert "all:" not in pages.markdown(comparison(WORSE, EXACT))


def test_markdown_folds_unchanged_findings() -> None:
    lines = pages.markdown(comparison(WORSE, SAME, EXACT)).splitlines()
    assert lines[0] == "### stmbench compare: 1 worse, 1 better, 1 same"
    folded = lines.index("<details><summary>1 the same within the margin</summary>")
    shown = [line for line in lines[:folded] if line.startswith("|")]
    assert cells(shown[0]) == ["", "model", "metric", "conditions", "head / base", "95 %", "min. detectable"]
    assert cells(shown[2])[0] == "🔴 worse"
    assert "1.100 | 1.090 to 1.110 | 4.2% |" in shown[2]
    assert any("unified_sw_attn_nano" in line for line in lines[folded:])
    assert not any("unified_sw_attn_nano" in line for line in lines[:folded])


def test_without_unchanged_findings_nothing_is_folded() -> None:
    assert "<details>" not in pages.markdown(comparison(WORSE))
    assert "| 🔴 worse" in pages.markdown(comparison(WORSE))


def test_hostile_name_stays_in_its_cell() -> None:
    nasty = dataclasses.replace(WORSE, model=NASTY, conditions=NASTY, metric=NASTY)
    failed = dataclasses.replace(FAILED, model=NASTY, reason=NASTY)
    found = comparison(nasty, failed, SAME, base=Version(label=NASTY), notes=(NASTY,))
    page = pages.markdown(found)
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1
    assert "<script" not in page
    assert "`" not in page
    assert not re.search(r"@\w", page)
    assert "](http" not in page
    assert NASTY.split("|")[0] in html.unescape(page)
    assert "[red]h[/red]" in text(found, width=400)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("unified_dw_conv", "unified_dw_conv"), ("_a_", "&#95;a&#95;"), ("a|b", "a&#124;b"), ("`a`", "&#96;a&#96;"),
     ("a\n\nb", "a b"), ("@me", "@<!-- -->me"), ("<b>", "&#60;b&#62;"), ("model[kernel=3]", "model&#91;kernel=3&#93;")],
)  # fmt: skip
def test_markdown_cells_are_escaped(given: str, wanted: str) -> None:
    assert escaped(given) == wanted


def test_json_has_exactly_the_documented_fields() -> None:
    found = json.loads(pages.as_json(comparison(WORSE, FAILED, DROP)))
    assert found["format"] == FORMAT == "stmbench.compare.v2"
    assert set(found) == {"format", "mode", "base", "head", "findings", "alpha", "notes", "changes", "count"}
    names = {field.name for field in dataclasses.fields(Finding)}
    assert all(set(item) == names for item in found["findings"])
    assert found["findings"][0]["effect"] == 1.1
    assert found["findings"][1]["effect"] is None
    assert found["count"] == {"worse": 1, "failed": 1, "inconclusive": 1, "better": 0, "same": 0}
    assert found["changes"]["machine"] == []
    assert found["base"]["commit"] == "a" * 40


def test_min_detectable_of_too_few_rounds_is_unknown() -> None:
    few = Finding(model="m", metric="t", verdict="inconclusive", effect=0.3, rounds=1, reason="1 rounds")
    assert [pages.detectable(item) for item in (few, EXACT, FAILED, WORSE, DROP)] == [
        "–",
        "exact",
        "–",
        "4.2%",
        "0.0250",
    ]


def test_confirmation_is_stated() -> None:
    found = text(comparison(dataclasses.replace(WORSE, confirmed=True), SAME))
    assert "worse: confirmed by a second measurement: unified_dw_conv_nano (time per image)" in found
    assert "confirmed" not in text(comparison(WORSE, SAME))


def test_identical_versions_are_stated() -> None:
    version = Version(label="here", digest="c" * 64)
    assert "changed: nothing" in text(comparison(SAME, base=version, head=version))
