"""How fast a dashboard's page is in a headless Chromium: until it is ready, for a filter, and for scrolling through.

    python benchmarks/dashboard.py FOLDER
    python benchmarks/dashboard_browser.py FOLDER/site/index.html

The page is served from here, without its content security policy, so that the script that times it can report.
"""

from __future__ import annotations

import http.server
import json
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

DRIVER = """<script>(async () => {
  const found = { ready: performance.now(), filters: [] };
  const form = document.getElementById("filters");
  for (const name of ["metric", "mixer"]) for (const { value } of [...form.elements[name].options].reverse()) {
    form.elements[name].value = value;
    const start = performance.now();
    form.elements[name].dispatchEvent(new Event("change", { bubbles: true }));
    document.body.getBoundingClientRect();
    found.filters.push(performance.now() - start);
    await new Promise(requestAnimationFrame);
  }
  found.frames = [];
  for (const figure of document.querySelectorAll("#charts figure")) {
    const start = performance.now();
    figure.scrollIntoView();
    await new Promise(requestAnimationFrame);
    found.frames.push(performance.now() - start);
  }
  await new Promise((done) => setTimeout(done, 500));
  found.charts = document.querySelectorAll("#charts .level").length;
  await fetch("/report", { method: "POST", body: JSON.stringify(found) });
})()</script></body>"""
SECONDS = 120


def served(text: str, reports: queue.Queue[str]) -> http.server.ThreadingHTTPServer:
    """A server of one page, on a free port of this machine, that puts what is posted into `reports`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/" else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            if self.path == "/":
                self.wfile.write(text.encode())

        def do_POST(self) -> None:
            reports.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main(page: Path) -> int:
    """Time the page and print it; 1 where there is no browser."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        print("expected chromium or google-chrome on the path, got neither; install one")
        return 1
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8")).replace("</body>", DRIVER)
    reports: queue.Queue[str] = queue.Queue()
    server = served(text, reports)
    # Chromium's child processes may still write there when it is told to end
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-sync", "--disable-background-networking"]
        command = [
            program,
            *quiet,
            f"--user-data-dir={profile}",
            "--window-size=1300,1000",
            "--remote-debugging-port=0",
        ]
        browser = subprocess.Popen(
            [*command, f"http://127.0.0.1:{server.server_port}/"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            found = json.loads(reports.get(timeout=SECONDS))
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()
    filters, frames = sorted(found["filters"]), sorted(found["frames"])
    print(f"ready     {found['ready']:.0f} ms after the request")
    print(f"filter    {filters[len(filters) // 2]:.0f} ms (median), {filters[-1]:.0f} ms at most")
    print(f"scrolling {frames[len(frames) // 2]:.0f} ms a chart (median), {frames[-1]:.0f} ms at most")
    print(f"drawn     {found['charts']} charts")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
