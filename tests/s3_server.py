"""An S3 server on this machine, for tests of stores and data sets at addresses: `server` once, `bucket` for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ADDRESS = "s3://bucket/lab/store"


class Bucket:
    """What the server holds, as its own client sees it."""

    def __init__(self, system: Any) -> None:
        self.system = system

    def names(self, below: str = "") -> list[str]:
        """Names of all objects, without the bucket's."""
        return sorted(name.removeprefix("bucket/") for name in self.system.find(f"bucket/{below}"))

    def send(self, folder: Path, below: str) -> str:
        """Copy a folder into the bucket; its address there."""
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.system.put_file(str(path), f"bucket/{below}/{path.relative_to(folder).as_posix()}")
        return f"s3://bucket/{below}"


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A client of the server that s3:// addresses reach."""
    s3fs, moto = pytest.importorskip("s3fs"), pytest.importorskip("moto.server")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        running.start()
        try:
            host, port = running.get_host_and_port()
            patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
            s3fs.S3FileSystem.clear_instance_cache()
            yield s3fs.S3FileSystem(use_listings_cache=False)
        finally:
            running.stop()
            s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(server: Any) -> Iterator[Bucket]:
    """An empty bucket, s3://bucket."""
    server.mkdir("bucket")
    yield Bucket(server)
    server.rm("bucket", recursive=True)


@pytest.fixture
def machine(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Go to a machine of this name: a process of its own, with a cache of its own. Returns the folder of the store at
    ADDRESS there, fetched; what was begun on the machine before ends as if it was killed."""
    from stmbench.tables import addresses

    begun = list[Any]()

    def go(name: str) -> Path:
        for mirror in addresses._OPEN.values():
            mirror._stop.set()
        begun.extend(addresses._OPEN.values())
        monkeypatch.setattr(addresses, "_OPEN", {})
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return addresses.fetched_store(ADDRESS)

    yield go
    for mirror in [*begun, *addresses._OPEN.values()]:
        mirror._stop.set()
