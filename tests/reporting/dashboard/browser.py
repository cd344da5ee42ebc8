"""A headless Chromium that opens a page from the disk; tests skip where there is none."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(PROGRAM is None, reason="no Chromium")
QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1200,900"),
]


class Opened(NamedTuple):
    """What became of a page: its document after the scripts ran, console messages, and what the driver returned."""

    document: str
    console: list[str]
    returned: Any


def open_page(page: Path, folder: Path, *, driver: str = "return null", address: str = "") -> Opened:
    """Open a copy of the page, run the body of an async function in it, and read the document.

    Args:
        driver: JavaScript; what it returns comes back.
        address: what follows the path, such as '#steps=1'.
    """
    assert PROGRAM is not None
    script = f"""<script>(async () => {{ {driver} }})().then((value) => {{
      document.documentElement.dataset.returned = JSON.stringify(value ?? null);
    }})</script></body>"""
    copy = page.with_name("driven.html")
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", script), encoding="utf-8")
    command = [
        *(PROGRAM, *QUIET, f"--user-data-dir={folder / 'browser'}", "--enable-logging=stderr"),
        *("--virtual-time-budget=12000", "--dump-dom", copy.as_uri() + address),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found = re.search(r'data-returned="([^"]*)"', done.stdout)
    assert found, (done.stdout[-500:], done.stderr[-2000:])
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Opened(done.stdout, console, json.loads(html.unescape(found[1])))
