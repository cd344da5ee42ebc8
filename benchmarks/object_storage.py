"""A store of many parts at an address: sent, fetched by another machine, and fetched again where nothing is new.

    python -m benchmarks.object_storage [--parts 2000]

The storage is an S3 server (moto) in a process of its own on this machine, so what is measured is our own work and that
of s3fs, with hardly any latency: processor time of this process, and objects a second of the wall clock, which a real
network will bound instead. Without s3fs or moto it says so and does nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.stores import write_store
from stmbench.tables import Store
from stmbench.tables.mirror import Mirror

ADDRESS = "s3://bucket/store"
SERVER = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[1]])"


def main() -> int:
    """Print a row for each step; 1 where the other machine has other keys."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=2000)
    parts = parser.parse_args().parts
    if any(importlib.util.find_spec(name) is None for name in ("s3fs", "moto", "flask")):
        print("passed over: s3fs, moto and flask are needed")
        return 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], **quiet)
    try:
        _wait_for(port)
        os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
        import s3fs

        s3fs.S3FileSystem().mkdir("bucket")
        with tempfile.TemporaryDirectory() as folder:
            return measure(Path(folder), parts)
    finally:
        server.kill()


def measure(folder: Path, parts: int) -> int:
    """Send and fetch a store of so many parts."""
    one, two = Mirror(ADDRESS, folder / "one"), Mirror(ADDRESS, folder / "two")
    write_store(one.folder, parts)
    print("| what | objects a second | ms of processor time each |\n|---|---|---|")
    _row(f"send {parts:,} new parts", one.push, parts)
    _row("look for what is new, nothing is", one.push, parts)
    _row("another machine fetches them", two.pull, parts)
    _row("it fetches again, nothing is new", two.pull, parts)
    return 0 if Store(two.folder).keys() == Store(one.folder).keys() else 1


def _row(what: str, work: Callable[[], object], parts: int) -> None:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"| {what} | {parts / wall:,.0f} | {1000 * processor / parts:.3g} |")


def _wait_for(port: int) -> None:
    """Return when the server listens. Raises TimeoutError after a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise TimeoutError("the S3 server did not start")


if __name__ == "__main__":
    sys.exit(main())
