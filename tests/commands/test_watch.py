"""`stmbench watch`: it prints its address, serves, ends with Ctrl-C, and refuses what it cannot serve."""

from __future__ import annotations

import functools
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.commands.run import refusal


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent as a signal")
def test_it_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stmbench", "watch", str(tmp_path / "none"), "--port", "0"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # a shell's background jobs ignore Ctrl-C, and so would what they start
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, preexec_fn=heard, **pipes) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(address, timeout=30) as answer:
                assert "There are no rows yet" in answer.read().decode()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)  # it gives way to whatever else runs
        finally:
            process.kill()
    assert (process.returncode, out) == (130, "")
    assert err.splitlines() == [
        f"{tmp_path / 'none'} does not exist yet; the page waits for it",
        "Ctrl-C ends the page",
        "interrupted; the store is unchanged",
    ]
    assert not (tmp_path / "none").exists()


def test_what_cannot_be_served_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "the file" in refusal("watch", str(tmp_path / "file"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"got {port} (" in refusal("watch", str(tmp_path), "--port", port)
