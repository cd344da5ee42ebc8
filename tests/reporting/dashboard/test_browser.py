"""The page in a real browser, opened from the disk: it draws, filters, reads with keys, and the console stays empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from stmbench.history.series import MachineSeries, machines_of
from stmbench.reporting.dashboard.page import write_dashboard
from tests.history.series import machines, noisy, record, series_key
from tests.reporting.dashboard.browser import Opened, needs_browser, open_page

pytestmark = needs_browser
EVIL = "<img src=x onerror=alert(1)>"
DRIVER = """
  const form = document.getElementById("filters"), found = {};
  const choose = (name, value) => {
    form.elements[name].value = value;
    form.elements[name].dispatchEvent(new Event("change", { bubbles: true }));
  };
  const count = (selector) => document.querySelectorAll(selector).length;
  const charts = () => count("#charts figure");
  found.all = charts();
  const sparks = [...document.querySelectorAll("#overview .spark")];
  found.sparks = sparks.map((spark) => [spark.className, spark.textContent]);
  found.jumps = sparks.map((spark) => {
    spark.click();
    const figure = document.activeElement.closest("#charts figure");
    return figure.querySelector("strong").textContent;
  });
  found.drawn = count(".level");
  found.rows = count("#steps tbody tr");
  found.marks = [...document.querySelectorAll(".mark")].map((mark) => mark.textContent).sort();
  choose("metric", "params");
  found.params = [charts(), location.hash];
  document.querySelector(".skip").click();
  await new Promise((done) => setTimeout(done, 50));
  found.skipped = charts();
  choose("metric", "");
  choose("mixer", "sw_attn");
  found.mixer = charts();
  form.elements.steps.click();
  found.steps = charts();
  form.reset();
  await new Promise((done) => setTimeout(done, 50));
  found.reset = charts();
  form.elements.model.value = "DW_conv";
  form.elements.model.dispatchEvent(new Event("input", { bubbles: true }));
  await new Promise((done) => setTimeout(done, 300));
  found.search = charts();
  choose("metric", "throughput");
  const svg = document.querySelector("#charts svg"), readout = svg.parentElement.querySelector(".readout");
  svg.focus();
  const press = (key) => {
    svg.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    return readout.textContent;
  };
  found.keys = [press("Home"), press("ArrowRight"), press("n"), press("End")];
  const box = svg.getBoundingClientRect();
  svg.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + 60, clientY: box.top + 40, bubbles: true }));
  found.tip = document.getElementById("tip").textContent;
  document.querySelector("#steps td.name button").click();
  found.shown = [charts(), document.activeElement.tagName.toLowerCase()];
  choose("last", "50");
  found.last = count("#steps tbody tr");
  choose("model", "no such model");
  found.empty = document.querySelector("#charts .empty").textContent;
  return found;
"""


def _machines() -> list[MachineSeries]:
    dw, sw = "unified_dw_conv_micro", "unified_sw_attn_micro"
    table = {
        series_key(model=dw): noisy((40, 100.0), (40, 90.0)),
        series_key(model=sw, mixer="sw_attn"): noisy((80, 100.0), seed=1),
        series_key("params", model=dw): [4e6] * 60 + [5e6] * 10 + [3e6] * 10,
        series_key("params", model=sw, mixer="sw_attn"): [4e6] * 80,
        series_key("params", model=EVIL, mixer=EVIL): [4e6] * 79 + [9e6],
    }
    return machines(table, text=EVIL)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    folder = tmp_path_factory.mktemp("site")
    page = write_dashboard(_machines(), folder, title="Dashboard", commit_url="https://example.org/{commit}")["page"]
    return open_page(page, folder, driver=DRIVER)


def test_console_stays_empty(opened: Opened) -> None:
    assert opened.console == []


def test_charts_and_change_points_are_drawn(opened: Opened) -> None:
    assert opened.returned["all"] == 5
    assert opened.returned["drawn"] == 5
    assert opened.returned["rows"] == 4
    assert opened.returned["marks"] == ["▲", "▼", "▼", "▼"]


def test_sparkline_shows_the_last_change_and_links_to_its_chart(opened: Opened) -> None:
    dw, sw = "unified_dw_conv_micro", "unified_sw_attn_micro"
    kinds = [kind.removeprefix("spark ") for kind, _ in opened.returned["sparks"]]
    assert kinds == ["worse", "better", "steady", "steady", "worse"]
    words = [text for _, text in opened.returned["sparks"]]
    assert words[0].startswith("▼ -9.")
    assert words[1:] == ["▲ -40.0 %", "steady", "steady", "▼ +125.0 %"]
    assert opened.returned["jumps"] == [dw, dw, sw, sw, EVIL]


ZOOM = """
  const [svg] = document.querySelectorAll("#charts svg"), figure = svg.closest("figure");
  document.querySelector("#overview .spark").click();
  const [whole, readout] = [figure.querySelector("figcaption button"), figure.querySelector(".readout")];
  const texts = () => [...svg.querySelectorAll("text")].map((one) => one.textContent);
  const dates = () => texts().filter((text) => /^2026/.test(text));
  const box = svg.getBoundingClientRect(), found = { latest: readout.innerHTML, all: [dates(), whole.hidden] };
  const point = (name, part) => svg.dispatchEvent(new PointerEvent(name, {
    clientX: box.left + 52 + part * (box.width - 60), clientY: box.top + 60, bubbles: true, button: 0,
  }));
  point("pointerdown", 0.25);
  point("pointermove", 0.52);
  found.chosen = svg.querySelectorAll(".chosen").length;
  point("pointerup", 0.52);
  found.zoomed = [dates(), whole.hidden, svg.querySelectorAll(".chosen").length, svg.querySelectorAll(".range").length];
  document.getElementById("filters").elements.metric.dispatchEvent(new Event("change", { bubbles: true }));
  document.querySelector("#overview .spark").click();
  const again = document.querySelector("#charts svg");
  found.kept = !again.closest("figure").querySelector("figcaption button").hidden;
  again.dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
  found.whole = again.closest("figure").querySelector("figcaption button").hidden;
  const press = (key) => again.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  press("+");
  found.key = again.closest("figure").querySelector("figcaption button").hidden;
  press("0");
  found.zero = again.closest("figure").querySelector("figcaption button").hidden;
  return found;
"""


def test_zoom_by_drag_and_keys_and_reset(tmp_path: Path) -> None:
    table = {series_key(): noisy((40, 100.0), (40, 90.0))}
    page = write_dashboard(machines(table), tmp_path, title="Dashboard", commit_url="https://example.org/{commit}")
    found = open_page(page["page"], tmp_path, driver=ZOOM)
    assert found.console == []
    zoom = found.returned
    dates, is_hidden = zoom["all"]
    assert is_hidden
    assert '<a href="https://example.org/004f' in zoom["latest"], "the commit is a link"
    first, last = min(zoom["zoomed"][0]), max(zoom["zoomed"][0])
    # of 80 days from 1 January those from the 21st to the 41st
    assert "2026-01-20" < first < last < "2026-02-11"
    assert min(dates) < first < last < max(dates)
    assert zoom["chosen"] == 1
    assert zoom["zoomed"][1:] == [False, 0, 1], "a button back, no selection, the change point at the edge"
    assert [zoom[name] for name in ("kept", "whole", "key", "zero")] == [True, True, False, True]


def test_one_measurement_has_no_fitted_line(tmp_path: Path) -> None:
    table = {series_key(): [float("nan"), 3.0], series_key("params"): [4e6, 4e6]}
    page = write_dashboard(machines(table), tmp_path, title="Dashboard")["page"]
    driver = """const sparks = [...document.querySelectorAll("#overview .spark")];
    for (const spark of sparks) spark.click();
    const lines = [...document.querySelectorAll(".level")].map((one) => one.getAttribute("d") !== "");
    return [sparks.map((spark) => spark.textContent), lines]"""
    assert open_page(page, tmp_path, driver=driver).returned == [["one value", "steady"], [False, True]]


def test_charts_are_drawn_lazily(tmp_path: Path) -> None:
    table = {series_key("params", model=f"model{number:02}"): [1.0] * 5 for number in range(60)}
    page = write_dashboard(machines(table), tmp_path, title="Dashboard")["page"]
    count = """document.querySelectorAll("#overview .spark")[24].click();
    return ['#charts figure', '.level'].map((name) => document.querySelectorAll(name).length)"""
    found = open_page(page, tmp_path, driver=f"console.warn('heard'); {count}")
    figures, drawn = found.returned
    assert figures == 60
    assert 0 < drawn < 30
    assert ["heard" in line for line in found.console] == [True]  # so that silence means something


def test_filters_are_kept_in_the_address(opened: Opened) -> None:
    expected = {
        "params": [3, "#metric=params"],
        "skipped": 3,
        "mixer": 2,
        "steps": 0,
        "reset": 5,
        "search": 2,
        "last": 1,
    }
    assert {name: opened.returned[name] for name in expected} == expected
    assert opened.returned["empty"] == "No series in this selection."


def test_keys_and_pointer_read_values(opened: Opened) -> None:
    home, right, step, end = opened.returned["keys"]
    assert ", 2026-01-01: " in home
    assert ", 2026-01-02: " in right
    assert "▼ worse, -9." in step
    assert ", 2026-03-21: " in end
    assert "images/s" in opened.returned["tip"]


def test_change_point_links_to_its_chart(opened: Opened) -> None:
    assert opened.returned["shown"] == [1, "svg"]


def test_a_name_is_text_and_never_markup(tmp_path: Path) -> None:
    page = write_dashboard(_machines(), tmp_path, title="Dashboard")["page"]
    driver = (
        "return [document.images.length, [...document.querySelectorAll('#charts strong')].map((s) => s.textContent)]"
    )
    found = open_page(page, tmp_path, driver=driver, address="#metric=params&steps=1")
    assert found.returned == [0, [EVIL, "unified_dw_conv_micro"]]
    assert found.console == []


def test_address_selects_and_unknown_names_select_all(tmp_path: Path) -> None:
    other = [record(number, {series_key(): 1.0}, machine="ffffffffffff") for number in range(3)]
    page = write_dashboard([*_machines(), *machines_of(other)], tmp_path, title="Dashboard")["page"]
    driver = "return [document.querySelectorAll('#charts figure').length, location.hash]"
    found = open_page(page, tmp_path, driver=driver, address="#machine=ffffffffffff&metric=none&mixer=none&last=7")
    assert found.returned == [1, "#machine=ffffffffffff"]
    assert found.console == []
