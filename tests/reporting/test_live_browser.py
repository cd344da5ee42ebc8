"""A page that is served, in a real Chromium: it takes in curves, and loads itself again with what the reader chose."""

from __future__ import annotations

import html
import json
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from stmbench.reporting import build_report, live
from stmbench.reporting.live import LivePage
from stmbench.reporting.serving import Server
from tests.reporting.dashboard.browser import PROGRAM, QUIET, needs_browser
from tests.reporting.test_live import COLUMNS, RUN, _part, _write
from tests.tables.frames import profile_frame

DRIVER = """<script>(async () => {
const $ = (selector) => document.querySelector(selector);
const rows = () => [...$("table.sortable").tBodies[0].rows];
const seen = () => ({
  names: rows().filter((row) => !row.hidden && !row.classList.contains("off")).map((row) => row.cells[0].textContent),
  sorted: $("table.sortable th[aria-sort]")?.getAttribute("aria-sort"),
  theme: document.documentElement.dataset.theme,
  off: $('[data-toggle="unified_dw_conv_micro"]').getAttribute("aria-pressed"),
  top: Math.round($("table.sortable").getBoundingClientRect().top),
  open: [...document.querySelectorAll("details")].map((one) => one.open),
  large: [...document.querySelectorAll(".card.large")].map((one) => one.getAttribute("aria-label")),
  live: document.querySelectorAll("#live svg, #live td").length,
  marks: [...document.querySelectorAll("#live [data-model]")].map((one) => one.classList.contains("off")),
});
const choose = () => {
  const button = $("table.sortable th button");
  button.click();
  button.click();
  $('[data-toggle="unified_dw_conv_micro"]').click();
  $("#theme").click();
  const filter = $("input.filter");
  filter.value = "attn";
  filter.dispatchEvent(new Event("input"));
  for (const details of document.querySelectorAll("details.definition")) details.open = false;
  for (const button of document.querySelectorAll("#live .enlarge")) button.click();
};
while (!$("#live svg")) await new Promise((done) => setTimeout(done, 100));
const first = sessionStorage.getItem("first");
if (first === null) {
  choose();
  scrollBy(0, $("table.sortable").getBoundingClientRect().top - 60);
  sessionStorage.setItem("first", JSON.stringify(seen()));
  fetch("version?next");
} else {
  document.documentElement.dataset.returned = JSON.stringify([JSON.parse(first), seen(), $("h1").textContent]);
}
})()</script></body>"""


class _Driven(LivePage):
    """A part appears, and is drawn, once the page has taken in the curves and asks for more."""

    asked = 0

    def page(self) -> str:
        return super().page().replace("</body>", DRIVER)

    def versions(self) -> dict[str, str]:
        self.asked += 1
        if self.asked == 3:
            before = super().versions()
            _part(self.store, "second")
            while super().versions() == before:
                time.sleep(0.05)
        return super().versions()


@needs_browser
def test_new_rows_keep_the_readers_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LEAST_REST_S", 0.1)
    monkeypatch.setattr(live, "REST", 0)
    store = tmp_path / "store"
    _part(store)
    _write(store, {**RUN, "columns": {**COLUMNS, "model": "unified_dw_conv_micro"}})
    frame = profile_frame(["halo_attn", "sr_attn", "dw_conv"], raw=False)

    def build(folder: Path) -> Any:
        return build_report(frame, title=f"{len(list(folder.glob('parts/*')))} parts")

    with Server(_Driven(store, build), 0) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        assert PROGRAM is not None
        command = [PROGRAM, *QUIET, f"--user-data-dir={tmp_path / 'browser'}", "--enable-logging=stderr"]
        done = subprocess.run(
            [*command, "--virtual-time-budget=30000", "--dump-dom", server.address],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        server.shutdown()
    found = re.search(r'data-returned="([^"]*)"', done.stdout)
    assert found, done.stderr[-2000:]
    before, after, title = json.loads(html.unescape(found[1]))
    assert title == "2 parts"
    assert before == after
    assert before["names"] == ["SR-Attn", "Halo-Attn"]
    assert (before["sorted"], before["theme"], before["off"]) == ("descending", "dark", "false")
    assert abs(before["top"] - 60) < 200
    assert (False in before["open"], before["large"]) == (True, ["Training curves"])
    assert before["live"] == 8
    assert before["marks"]
    assert all(before["marks"])
    assert ":CONSOLE" not in done.stderr
