"""A store that is being written, as a page: what it serves, to whom, and when it is drawn again."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stmbench.errors import ConfigError, TableError
from stmbench.reporting import live
from stmbench.reporting.content import Report
from stmbench.reporting.live import LivePage, runs_under_way, training_html
from stmbench.reporting.serving import Server

COLUMNS = {"model": "unified_dw_conv_nano", "architecture": "unified", "mixer": "dw_conv", "scale": "nano",
           "weights": "digits.e4.s0", "seed": 0, "dataset": "digits:1a", "dtype": "fp32"}  # fmt: skip
RUN: dict[str, Any] = {
    "version": 2, "key": "ab12", "columns": COLUMNS, "epochs": 4, "done": 0.5, "seconds": 60.0, "written": 1.0,
    "mixers": {"dw_conv": {"title": "Convolution", "abbreviation": "DW-Conv", "palette_slot": 3}},
    "train_loss": [[1.0, 2.25], [2.0, 1.5]], "scores": [[1, 0.25], [2, 0.625]], "headline": "accuracy",
}  # fmt: skip


def _write(store: Path, run: dict[str, Any]) -> Path:
    folder = store / "checkpoints" / "a-run"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "progress.json").write_text(json.dumps(run))
    return folder


def _part(store: Path, name: str = "part") -> Path:
    (store / "parts").mkdir(parents=True, exist_ok=True)
    file = store / "parts" / f"{name}.parquet"
    file.write_bytes(b"rows")
    return file


def _report(store: Path) -> Report:
    """A report whose lead counts the parts."""
    count = len(list(store.glob("parts/*.parquet")))
    return Report(title="Counted", lead=f"{count} parts", headline=None, facts=(), caveats=(), subjects=(),
                  sections=(), rows=count, version="1")  # fmt: skip


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    monkeypatch.setattr(live, "LEAST_REST_S", 0.01)
    servers: list[Server] = []

    def make(build: Callable[[Path], Report] = _report) -> Server:
        servers.append(Server(LivePage(tmp_path, build), 0))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return servers[-1]

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def _ask(server: Server, path: str, method: str = "GET", host: str = "localhost") -> tuple[int, str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), answer.headers


def _versions(server: Server) -> dict[str, str]:
    found: dict[str, str] = json.loads(_ask(server, "/version")[1])
    return found


def _until_changed(server: Server, before: dict[str, str]) -> dict[str, str]:
    for _ in range(500):
        if (now := _versions(server)) != before:
            return now
        time.sleep(0.01)
    raise AssertionError("the version stays")


def test_an_empty_store_waits_and_its_rows_change_the_version(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve()
    status, page, headers = _ask(server, "/")
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert "There are no rows yet" in page
    first = _versions(server)
    assert f'const SHOWN = "{first["rows"]}"' in page
    time.sleep(0.05)
    assert _versions(server) == first
    _part(tmp_path)
    second = _until_changed(server, first)
    assert second["rows"] != first["rows"]
    assert "1 parts" in _ask(server, "/")[1]


def test_a_point_of_a_curve_changes_the_training_but_not_the_page(serve: Callable[..., Server], tmp_path: Path) -> None:
    _part(tmp_path)
    server = serve()
    first = _versions(server)
    assert _ask(server, "/training")[1] == ""
    _write(tmp_path, RUN)
    second = _until_changed(server, first)
    assert second["rows"] == first["rows"]
    section = _ask(server, "/training")[1]
    for text in ("unified_dw_conv_nano", "3 of 4", "50 %", "62.5 %", 'data-written="1.0"', "<svg"):
        assert text in section
    _part(tmp_path, RUN["key"])  # the run ends
    _until_changed(server, second)
    assert _ask(server, "/training")[1] == ""


@pytest.mark.parametrize(
    ("path", "method", "host", "status"),
    [
        ("/", "GET", "127.0.0.1:8765", 200),
        ("/version?x=1", "GET", "[::1]:9", 200),
        ("/version", "HEAD", "LOCALHOST:80", 200),
        ("/", "GET", "example.org", 403),
        ("/version", "GET", "localhost.example.org:8765", 403),
        ("/training", "HEAD", "", 403),
        ("/../secret", "GET", "localhost", 404),
        ("/parts/part.parquet", "GET", "localhost", 404),
        ("/%2e%2e/secret", "GET", "localhost", 404),
        ("//etc/passwd", "GET", "localhost", 404),
        *(("/", method, "localhost", 405) for method in ("POST", "PUT", "DELETE", "OPTIONS", "PROPFIND")),
    ],
)
def test_requests_are_answered_by_path_method_and_host(
    serve: Callable[..., Server], tmp_path: Path, path: str, method: str, host: str, status: int
) -> None:
    _part(tmp_path)
    (tmp_path.parent / "secret").write_text("top secret")
    found, body, headers = _ask(serve(), path, method, host)
    assert found == status
    assert "top secret" not in body
    assert bool(body) == (method != "HEAD")
    assert headers.get("Allow") == ("GET, HEAD" if status == 405 else None)


def test_server_binds_to_localhost_and_reports_a_taken_port(serve: Callable[..., Server]) -> None:
    server = serve()
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.address == f"http://127.0.0.1:{server.server_port}/"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match=r"expected a free port, got \d+ \(.*\); choose another with --port"):
            Server(server.page, taken.getsockname()[1])


@pytest.mark.parametrize("error", [TableError("rows", "<none>", "measure"), ValueError("<none>")])
def test_failed_report_is_stated_and_retried(serve: Callable[..., Server], tmp_path: Path, error: Exception) -> None:
    failing = [error]

    def build(store: Path) -> Report:
        if failing:
            raise failing.pop()
        return _report(store)

    _part(tmp_path)
    server = serve(build)
    assert "cannot be" in _ask(server, "/")[1]
    assert "&lt;none&gt;" in _ask(server, "/")[1]
    before = _versions(server)
    _part(tmp_path, "another")
    _until_changed(server, before)
    assert "2 parts" in _ask(server, "/")[1]


@pytest.mark.parametrize("change", [{"version": 1}, {"key": "../x"}, {"columns": 3}, {"done": "x"}, {"scores": [[1]]}])
def test_a_damaged_or_newer_file_is_left_out(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = _write(tmp_path, RUN)
    assert [run["left"] for run in runs_under_way(tmp_path)] == ["1:00 min"]
    (folder / "progress.json").write_text(json.dumps({**RUN, **change}))
    assert training_html(tmp_path) == ""
    (folder / "progress.json").write_text("{")
    assert runs_under_way(tmp_path) == []
