"""A page on localhost, read-only: three addresses, two methods, one network interface.

A page elsewhere could point its own host name at 127.0.0.1 and read what is served there (DNS rebinding). Its requests
carry that name, so only requests to localhost are answered. Addresses are looked up in a table and never become paths.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from stmbench.errors import ConfigError
from stmbench.reporting.live import LivePage

HOST: Final = "127.0.0.1"
METHODS: Final = ("GET", "HEAD")
# any port: a forwarded one (ssh -L) is another than ours
_LOCAL: Final = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)
HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Server(ThreadingHTTPServer):
    """Serves a page on 127.0.0.1; `serve_forever` answers until `shutdown`.

    Raises ConfigError for a port that is taken or reserved; port 0 is any free one.
    """

    daemon_threads = True

    def __init__(self, page: LivePage, port: int) -> None:
        self.page = page
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            got = f"{port} ({getattr(error, 'strerror', None) or error})"
            raise ConfigError("a free port", got, "choose another with --port; 0 takes a free one") from error

    @property
    def address(self) -> str:
        """The page's."""
        return f"http://{HOST}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that left is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = 30  # seconds for a request to arrive
    server_version, sys_version = "stmbench", ""

    def do_GET(self) -> None:
        page = self.server.page
        answers = {
            "/": ("text/html", page.page),
            "/training": ("text/html", page.training),
            "/version": ("application/json", lambda: json.dumps(page.versions())),
        }
        found = answers.get(self.path.partition("?")[0])
        if not self._is_local():
            self._send(HTTPStatus.FORBIDDEN, "text/plain", "this page is for localhost only\n")
        elif found is None:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", "there is nothing here\n")
        else:
            self._send(HTTPStatus.OK, found[0], found[1]())

    do_HEAD = do_GET  # noqa: N815 - the parent's names

    def parse_request(self) -> bool:
        """Refuse every other method, whatever it is called."""
        is_whole = super().parse_request()
        if not is_whole or self.command in METHODS:
            return is_whole
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", "this page is read-only\n", Allow=", ".join(METHODS))
        return False

    def _is_local(self) -> bool:
        hosts = self.headers.get_all("Host", [])
        return len(hosts) == 1 and _LOCAL.fullmatch(hosts[0].strip()) is not None

    def _send(self, status: HTTPStatus, kind: str, text: str, **more: str) -> None:
        body = text.encode("utf-8")
        self.send_response(status)
        fields = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(body)), **HEADERS, **more}
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not worth a line."""
