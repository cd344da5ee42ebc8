"""A page in a real headless Chromium: a script is put at its end, runs, and leaves its findings in the DOM."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=20000", "--window-size=1200,1600"),
)
BEFORE = """<script>
window.seen = {alerts: 0, errors: [], violations: []};
window.alert = () => { seen.alerts += 1; };
addEventListener("error", (event) => seen.errors.push(event.message));
addEventListener("securitypolicyviolation", (event) => seen.violations.push(event.blockedURI));
</script>"""
AFTER = """<script>
addEventListener("load", async () => {
  let found;
  try { found = await (async () => { %s })(); } catch (error) { found = {failed: String(error)}; }
  const requests = performance.getEntriesByType("resource").map((entry) => entry.name);
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify({...seen, requests, ...found});
  document.body.append(result);
});
</script>"""


def run(page: str, script: str, folder: Path) -> dict[str, Any]:
    """What `script` returns (it may await), with alerts, errors, violations of the page's policy and its requests.

    Skips the test where no Chromium is installed.
    """
    browser = next((path for name in NAMES if (path := shutil.which(name))), None)
    if browser is None:
        pytest.skip("no chromium is installed")
    head, mark, rest = page.partition("<head>")
    assert mark
    assert "</body>" in rest
    file = folder / "page.html"
    body, end, tail = rest.rpartition("</body>")
    file.write_text(head + mark + BEFORE + body + AFTER % script + end + tail, encoding="utf-8")
    done = subprocess.run(
        [browser, *OPTIONS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", file.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(html.unescape(found[1]))
    result["console"] = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return result
