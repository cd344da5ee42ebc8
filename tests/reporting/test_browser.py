"""The page at work in a real Chromium: sorting, filtering, toggling, light and dark, what marks say, and no request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stmbench.commands.report import overview
from stmbench.reporting import build_report
from stmbench.reporting.formats.html import html, packed
from tests.reporting.browser import run
from tests.reporting.evil import NAMES, evil_report
from tests.tables.frames import profile_frame

SCRIPT = """
const $ = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const table = $("table.sortable");
const names = () => all("tbody tr", table).filter((row) => getComputedStyle(row).display !== "none")
  .map((row) => row.cells[0].firstChild.textContent);
const heading = all("thead th", table).find((one) => one.textContent.startsWith("Throughput"));
const found = {measured: names()};

found.button = $("button", heading).tagName;
$("button", heading).click();
found.ascending = [names(), heading.getAttribute("aria-sort")];
$("button", heading).click();
found.descending = [names(), heading.getAttribute("aria-sort")];
const first = table.tHead.rows[0].cells[0];
$("button", first).click();
found.byName = [names(), first.getAttribute("aria-sort"), heading.hasAttribute("aria-sort")];
found.said = $("#said").textContent;

const input = $("input.filter", table.closest(".table"));
found.label = input.getAttribute("aria-label");
const filter = (text) => { input.value = text; input.dispatchEvent(new Event("input")); };
filter("ATTN s");
found.filtered = [names(), $(".shown", table.closest(".table")).textContent];
filter("nothing like it");
found.none = names();
filter("");
found.unfiltered = names().length;

const conv = "unified_dw_conv_micro", other = "unified_sr_attn_micro";
const toggle = $(`[data-toggle="${conv}"]`);
const marks = (model) => all(`svg [data-model="${model}"]`);
const visible = (model) => marks(model).filter((one) => getComputedStyle(one).visibility === "visible").length;
found.figures = all("figure").filter((one) => one.querySelector(`[data-model="${conv}"]`)).length;
found.marks = [marks(conv).length, visible(conv), visible(other)];
toggle.click();
found.hidden = [visible(conv), visible(other), names(), toggle.getAttribute("aria-pressed")];
toggle.click();
found.shown = [visible(conv), names().length, toggle.getAttribute("aria-pressed")];

const ground = () => getComputedStyle(document.body).backgroundColor;
const ink = () => getComputedStyle($("svg text")).fill;
found.light = [ground(), ink()];
$("#theme").click();
found.dark = [ground(), ink(), document.documentElement.dataset.theme];
$("#theme").click();
found.lightAgain = ground();

const bar = all("svg .says").find((one) => one.dataset.model === conv);
bar.dispatchEvent(new PointerEvent("pointerover", {bubbles: true, clientX: 100, clientY: 100}));
found.tip = [$("#tip").hidden, $("#tip").textContent];
document.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"}));
found.tipGone = $("#tip").hidden;

const name = (one) => one.getAttribute("aria-label") || one.textContent.trim();
found.unnamed = all("button, input").filter((one) => !name(one)).length;
found.svgs = all("svg").map((one) => one.getAttribute("aria-labelledby").split(" ")
  .every((id) => document.getElementById(id).textContent.length > 3)).every(Boolean);
found.scopes = all("th").every((one) => one.scope === "col" || one.scope === "row");
return found;
"""
# in a frame as wide as a phone: what is wider than the page scrolls by itself
PHONE = """
const frame = document.createElement("iframe");
frame.style.cssText = "width: 375px; height: 800px";
const loaded = new Promise((done) => { frame.onload = done; });
frame.srcdoc = document.getElementById("inner").textContent;
document.body.append(frame);
await loaded;
const inner = frame.contentDocument;
return {
  width: inner.documentElement.scrollWidth,
  inside: frame.contentWindow.innerWidth,
  lines: getComputedStyle(inner.querySelector(".columns")).gridTemplateColumns.split(" ").length,
  folded: !inner.querySelector("#legend").open,
  switches: inner.querySelector("[data-toggle]").checkVisibility(),
  ...await (async () => {
    inner.querySelector("#legend summary").click();
    const card = inner.querySelector("figure .card"), svg = card.querySelector("svg");
    const fits = [...inner.querySelectorAll(".card svg")].every((one) => one.getBoundingClientRect().width <= 390);
    const button = card.nextElementSibling;
    button.click();
    const large = [svg.getBoundingClientRect().width > 390, button.textContent, inner.documentElement.scrollWidth];
    return {unfolded: inner.querySelector("[data-toggle]").checkVisibility(), fits, large};
  })(),
};
"""
# every table of a narrow page: its last column can be reached, and the first one stays
TABLES = """
const frame = document.createElement("iframe");
frame.style.cssText = `width: WIDTHpx; height: 800px`;
const loaded = new Promise((done) => { frame.onload = done; });
frame.srcdoc = document.getElementById("inner").textContent;
document.body.append(frame);
await loaded;
const inner = frame.contentDocument;
const lost = [];
for (const region of inner.querySelectorAll(".table .scroll")) {
  const row = region.querySelector("tbody tr"), first = row.cells[0], last = row.cells[row.cells.length - 1];
  const before = first.getBoundingClientRect().left;
  region.scrollLeft = 1e6;
  const edge = region.getBoundingClientRect().right + 1;
  const ok = last.getBoundingClientRect().right <= edge && Math.abs(first.getBoundingClientRect().left - before) < 1.5;
  if (!ok) lost.push(region.getAttribute("aria-labelledby"));
}
const grid = inner.querySelector("#section-1 ~ .table .scroll");
return {lost, count: inner.querySelectorAll(".table .scroll").length, page: inner.documentElement.scrollWidth,
        grid: [grid.scrollWidth > grid.clientWidth, grid.scrollLeft > 0]};
"""
GRID = """
const table = document.querySelector("#section-1 ~ .table table");
const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].firstChild.textContent);
const heading = [...table.tHead.rows[0].cells].find((one) => one.textContent.startsWith("Parameters"));
const found = {measured: names(), sectionsBefore: document.querySelector("h2").textContent};
heading.querySelector("button").click();
found.sorted = [names(), heading.getAttribute("aria-sort")];
const link = heading.querySelector("a.to");
found.link = [link.closest("button"), document.querySelector(link.getAttribute("href")).textContent];
found.said = document.getElementById("said").textContent;
found.marks = [...table.querySelectorAll("td.mark")].map((cell) =>
  [cell.querySelector(".word")?.textContent, getComputedStyle(cell).backgroundColor]);
return found;
"""


@pytest.fixture(scope="module")
def five() -> str:
    return html(build_report(profile_frame(raw=False)))


@pytest.fixture(scope="module")
def grid() -> str:
    frame = profile_frame()
    return html(build_report(frame, first=overview(frame)))


# a packed page has its controls once it is unpacked
READY = (
    'while (!document.querySelector("#controls:not([hidden])")) await new Promise((done) => setTimeout(done, 20));\n'
)


@pytest.fixture(scope="module", params=["plain", "packed"])
def found(request: pytest.FixtureRequest, five: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    page = packed(five) if request.param == "packed" else five
    result = run(page, READY + SCRIPT, tmp_path_factory.mktemp("browser"))
    assert "failed" not in result, result["failed"]
    return result


def test_page_loads_without_network_or_errors(found: dict[str, Any]) -> None:
    assert found["requests"] == []
    assert found["console"] == found["errors"] == found["violations"] == []


def test_a_column_sorts_both_ways(found: dict[str, Any]) -> None:
    assert found["button"] == "BUTTON"
    ascending = ["DCNv3", "Halo-Attn", "SW-Attn", "SR-Attn", "DW-Conv"]
    assert found["measured"] == ["Halo-Attn", "SR-Attn", "SW-Attn", "DW-Conv", "DCNv3"]
    assert found["ascending"] == [ascending, "ascending"]
    assert found["descending"] == [ascending[::-1], "descending"]
    assert found["byName"] == [sorted(ascending, key=str.lower), "ascending", False]
    assert found["said"].startswith("sorted by Model")


def test_rows_are_filtered_by_words(found: dict[str, Any]) -> None:
    assert "Costs and timings" in found["label"]
    assert found["filtered"] == [["SR-Attn", "SW-Attn"], "2 of 5 rows"]
    assert found["none"] == []
    assert found["unfiltered"] == 5


def test_a_model_is_hidden_in_every_figure_and_table(found: dict[str, Any]) -> None:
    assert found["figures"] == 6
    count, visible, others = found["marks"]
    assert count == visible > 20
    assert found["hidden"][:2] == [0, others]
    assert "DW-Conv" not in found["hidden"][2]
    assert len(found["hidden"][2]) == 4
    assert found["hidden"][3] == "false"
    assert found["shown"] == [count, 5, "true"]


def test_light_and_dark_themes(found: dict[str, Any]) -> None:
    assert found["dark"][2] == "dark"
    assert found["dark"][0] != found["light"][0] == found["lightAgain"]
    assert found["dark"][1] != found["light"][1], "the figures' text follows"


def test_marks_show_their_values_in_a_tip(found: dict[str, Any]) -> None:
    assert found["tip"] == [False, "DW-Conv: throughput, 131.0 images/s (95 %: 129.0 to 132.8)"]
    assert found["tipGone"] is True


def test_controls_have_accessible_names_and_roles(found: dict[str, Any]) -> None:
    assert found["unnamed"] == 0
    assert found["svgs"] is True
    assert found["scopes"] is True


def test_overview_comes_first_and_sorts(grid: str, tmp_path: Path) -> None:
    result = run(grid, GRID, tmp_path)
    assert "failed" not in result, result["failed"]
    assert result["sectionsBefore"] == "Overview"
    assert result["measured"] == ["Halo-Attn", "SR-Attn", "SW-Attn", "DW-Conv", "DCNv3"]
    assert result["sorted"] == [["Halo-Attn", "DCNv3", "DW-Conv", "SW-Attn", "SR-Attn"], "ascending"]
    assert result["link"] == [None, "Cost and speed"], "the link is no part of the button"
    assert result["said"] == "sorted by Parameters224 px, ascending"
    colours = {word: {colour for other, colour in result["marks"] if other == word} for word, _ in result["marks"]}
    assert {None, "better", "worse", "the same"} <= {*colours}
    assert len({*colours["better"], *colours["worse"], *colours["the same"]}) == 3, "one colour for each verdict"


@pytest.mark.parametrize("width", [390, 1400])
def test_every_column_is_reachable(grid: str, tmp_path: Path, width: int) -> None:
    result = run(_framed(grid), TABLES.replace("WIDTH", str(width)), tmp_path)
    assert "failed" not in result, result["failed"]
    assert result["lost"] == []
    assert result["count"] >= 4
    assert result["page"] <= width
    assert result["grid"] == ([True, True] if width == 390 else [False, False])


def _framed(page: str) -> str:
    inner = page.replace("</textarea", "&lt;/textarea").replace("&", "&amp;")
    return f"<html><head></head><body><textarea id=inner hidden>{inner}</textarea></body></html>"


def test_page_fits_a_phone(five: str, tmp_path: Path) -> None:
    result = run(_framed(five), PHONE, tmp_path)
    assert "failed" not in result, result["failed"]
    assert (result["folded"], result["switches"], result["unfolded"]) == (True, False, True)
    assert result["fits"] is True
    assert result["large"][:2] == [True, "Fit the width"]
    assert result["large"][2] <= result["inside"], "a large figure scrolls in its frame"
    assert result["width"] <= result["inside"] < 380
    assert result["lines"] == 1


def test_hostile_names_run_no_script(tmp_path: Path) -> None:
    name = NAMES[4] + NAMES[0]
    report = html(evil_report(name))
    result = run(report, "return {scripts: document.scripts.length, title: document.title};", tmp_path)
    assert (result["alerts"], result["errors"], result["violations"]) == (0, [], [])
    assert result["scripts"] == 3, "the page's own, and the test's two"
    assert result["title"] == name
