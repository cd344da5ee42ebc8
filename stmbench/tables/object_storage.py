"""Addresses such as s3://bucket/folder, by fsspec: the objects below one, moved whole; errors as one line."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

from stmbench.errors import InputError, MissingPackageError, OutputError, StmbenchError, UnknownNameError

STREAMS: Final = 16  # objects at a time: the time of a small one is that of asking
# of an address: two letters or more, then two slashes; C:\folder is a path
_ADDRESS: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://(?P<place>.*)", re.DOTALL)
KNOWN: Final = ("s3", "gs", "memory", "file")
LOOK: Final = "check the address, the credentials and the network"


def is_address(text: str) -> bool:
    """Whether a text is an address rather than a path."""
    return _ADDRESS.fullmatch(text) is not None


def last_name(address: str) -> str:
    """The last folder or file of an address: what a set or a store is called."""
    return address.rstrip("/").rpartition("/")[2]


class Facts(NamedTuple):
    """Of an object: bytes, and what changes when it is replaced."""

    size: int
    version: str


class ObjectFolder:
    """All objects below an address, by their path relative to it.

    Credentials and endpoints are those of the storage's package: for s3 the files and variables of the AWS command line
    (AWS_ENDPOINT_URL for another server), for gs those of gcloud.

    Raises:
        MissingPackageError: the package for it is not installed. UnknownNameError: no such kind of storage.
        InputError: no bucket in the address, or one that its package does not accept; by each method, the storage
            cannot be reached. OutputError: by those that write, it cannot be written to.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._system, self._root = _opened(self.address)
        self.remedy = LOOK  # where writing fails

    def files(self, place: str = "") -> dict[str, Facts]:
        """Path -> facts of the objects below `place`, a folder; none where there is nothing."""
        root = f"{self._root}/{place}" if place else self._root
        with _reaching(self.address):
            self._system.invalidate_cache()
            try:
                found = self._system.find(root, detail=True)
            except FileNotFoundError:
                if not self._system.exists(self._root.lstrip("/").split("/")[0]):
                    raise  # no such bucket
                return {}
        above = f"{self._root}/"
        return {
            name.removeprefix(above): facts_of(facts)
            for name, facts in found.items()
            if name.startswith(above) and facts.get("type", "file") == "file" and not name.endswith("/")
        }

    def is_there(self) -> bool:
        """Whether there is an object of this address, or one below it."""
        with _reaching(self.address):
            self._system.invalidate_cache()
            return bool(self._system.exists(self._root))

    def get(self, place: str, target: Path) -> None:
        """Write an object to a file, which is not whole before this returns. Raises OSError if there is no room."""
        with _reaching(f"{self.address}/{place}"):
            self._system.get_file(f"{self._root}/{place}", str(target))

    def put(self, source: Path, place: str) -> Facts | None:
        """Send a file; returns the new object's facts, None where the file went meanwhile."""
        target = f"{self._root}/{place}"
        with _reaching(f"{self.address}/{place}", self.remedy):
            try:
                self._system.put_file(str(source), target)
            except FileNotFoundError:
                if source.exists():
                    raise
                return None
            return facts_of(self._system.info(target))

    def remove(self, place: str) -> None:
        """Remove an object; one that is not there is no error."""
        with _reaching(f"{self.address}/{place}", self.remedy), contextlib.suppress(FileNotFoundError):
            self._system.rm_file(f"{self._root}/{place}")

    def require_writable(self) -> None:
        """Write an object and remove it."""
        with _reaching(self.address, "correct the address, or ask for permission"):
            self._system.pipe_file(f"{self._root}/.writable", b"stmbench")
            self._system.rm_file(f"{self._root}/.writable")


def each(work: Callable[[str], object], places: Collection[str]) -> None:
    """Do the work for all places, several at a time; raises the first error."""
    if places:
        with ThreadPoolExecutor(STREAMS) as pool:
            list(pool.map(work, places))


def facts_of(facts: Mapping[str, Any]) -> Facts:
    """An object's size and version: its hash where the storage says it, else its size and time."""
    size = int(facts.get("size") or 0)
    for name in ("ETag", "etag", "md5Hash"):
        if facts.get(name):
            return Facts(size, str(facts[name]).strip('"'))
    times = (facts.get(name) for name in ("LastModified", "last_modified", "updated", "mtime", "created"))
    return Facts(size, f"{size} {next((str(time) for time in times if time is not None), '')}")


def _opened(address: str) -> tuple[Any, str]:
    match = _ADDRESS.fullmatch(address)
    if match is None or not match["place"].strip("/"):
        raise InputError("an address such as s3://bucket/folder", repr(address), "name a bucket and a folder in it")
    import fsspec

    scheme = match["scheme"].lower()
    if scheme not in fsspec.available_protocols():
        raise UnknownNameError("kind of storage", scheme, KNOWN)
    try:
        # listings would otherwise be remembered, and what others write meanwhile not seen
        system, path = fsspec.core.url_to_fs(address, use_listings_cache=False)
    except ImportError as error:
        if scheme in ("s3", "s3a"):
            raise MissingPackageError("s3fs", f"{scheme}:// addresses", "s3") from error
        if scheme in ("gs", "gcs"):
            raise MissingPackageError("gcsfs", f"{scheme}:// addresses", "gcs") from error
        got, remedy = f"none ({_short(error)})", "see the documentation of fsspec"
        raise InputError(f"a package for {scheme}:// addresses", got, remedy) from error
    except Exception as error:  # each package has its own
        raise InputError("an address that can be used", f"{address} ({_short(error)})", "correct it") from error
    return system, str(path).rstrip("/")


@contextlib.contextmanager
def _reaching(address: str, remedy_of_writing: str | None = None) -> Iterator[None]:
    """Turn what a storage's package raises into InputError, or OutputError where something is written."""
    try:
        yield
    except (StmbenchError, MemoryError):
        raise
    except Exception as error:  # each package has its own
        got = f"{address} ({_short(error)})"
        if remedy_of_writing is not None:
            raise OutputError("storage that can be written to", got, remedy_of_writing) from error
        raise InputError("storage that can be read", got, LOOK) from error


def _short(error: BaseException) -> str:
    """An error of another package, in a few words."""
    text, name = " ".join(str(error).split()), type(error).__name__
    return f"{name}: {text[:160]}" if text and name not in text else text[:160] or name
