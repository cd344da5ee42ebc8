"""A store at an address (s3://bucket/store): worked on in a folder of this machine, which is kept equal to it.

The folder is in the user's cache. A command first fetches tables and arrays that it lacks, which is little; weights and
states of trainings are fetched when they are needed. While it works, a thread sends what is new every few seconds, and
the end of the command waits for the rest. Every object is replaced as a whole, a part after the arrays that it names,
so a store at an address is whole at any time, as a folder is; whoever is killed loses at most the last seconds.

    <cache>/stores/<hash of the address>/<name>         the folder
    <cache>/stores/<hash of the address>/mirror.json    the address, and what is alike here and there
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from stmbench.bundled import cache_folder
from stmbench.errors import OutputError
from stmbench.tables.files import LARGE, replacing, write_file
from stmbench.tables.object_storage import Facts, ObjectFolder, each, last_name
from stmbench.tables.packed import locked

EVERY_S: Final = 10.0  # between two looks at what is new
RECORD: Final = "mirror.json"
PARTS: Final = "parts/"
BESIDE: Final = ("figures.json",)  # which figure shows what
LEFT_HERE: Final = ("receipt.json",)  # says what holds on one machine


class Mark(NamedTuple):
    """When a file here and an object there were alike: the file's size and time, the object's version."""

    size: int
    changed_ns: int
    version: str


class Mirror:
    """The store at an address, and the folder that stands for it on this machine.

    Args:
        address: such as s3://bucket/store.
        home: where the folder and its record are; default: in the user's cache.

    Raises:
        InputError, MissingPackageError, UnknownNameError: an address that cannot be used.
    """

    def __init__(self, address: str, home: Path | None = None) -> None:
        self.objects = ObjectFolder(address)
        self.address = self.objects.address
        self.home = home or home_of(self.address)
        self.folder = self.home / last_name(self.address)
        remedy = f"nothing is lost: it is in {self.folder}, and the same command sends it"
        self.objects.remedy = remedy
        self._alike: dict[str, Mark] = {}
        self._read: tuple[int, int] | None = None  # the record that was read or written last
        self._know_what_others_did()
        self._seen: set[str] = set()  # here since this process began: where one is gone, it was removed
        self._there: dict[str, Facts] | None = None  # what was listed, and what became of it
        self._busy, self._stop = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._was_told = False

    def pull(self, *, also: Callable[[str], bool] = lambda place: False) -> int:
        """Fetch tables and arrays that are new there, and remove here what was removed there; returns how many came.

        What is new here stays as it is: it will be sent.

        Args:
            also: chooses further files, by their place in the store.

        Raises:
            InputError: the storage cannot be reached. OutputError: no room here.
        """
        with self._busy:
            self._know_what_others_did()
            there = self._there = {
                place: facts for place, facts in self.objects.files().items() if not _is_hidden(place)
            }
            if not there and not (self.folder / PARTS).is_dir():
                return 0
            wanted = [place for place, facts in there.items() if _is_table(place, facts) or also(place)]
            try:
                (self.folder / PARTS).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                got, remedy = f"{self.home} ({error.strerror or error})", "set XDG_CACHE_HOME to a folder of yours"
                raise OutputError("a cache that can be written, for a store at an address", got, remedy) from error
            with locked(self.folder / PARTS):
                came = self._download(wanted, there)
                gone = [place for place in self._alike if place not in there and not self._is_newer(place)]
                for place in sorted(gone, key=_is_part, reverse=True):
                    (self.folder / place).unlink(missing_ok=True)
                    del self._alike[place]
            self._seen |= {place for place in there if (self.folder / place).exists()}
            self._record()
            return came

    def fetch(self, path: Path) -> None:
        """Fetch a file of the store, or all files of a folder of it, if they are there. Raises as `pull` does."""
        place = self._place(path)
        with self._busy:
            there = self._below(path.parent)
            wanted = [name for name in there if name == place or name.startswith(f"{place}/")]
            if self._download(wanted, there):
                self._record()

    def size(self, path: Path) -> int | None:
        """Bytes of a file of the store as it is there; None where it is not. Raises InputError as `pull` does."""
        found = self._below(path.parent).get(self._place(path))
        return None if found is None else found.size

    def remove(self, folder: Path) -> None:
        """Remove what is there of a folder of the store. Raises OutputError."""
        with self._busy:
            place = self._place(folder)
            self._delete([name for name in self._below(folder.parent) if name.startswith(f"{place}/")])

    def push(self) -> int:
        """Send what is new here, and remove there what was removed here; returns how many objects changed.

        Raises:
            OutputError: the storage cannot be written to; what was sent by then is not sent again.
        """
        with self._busy:
            self._know_what_others_did()
            # parts are listed before arrays: a part that is sent has them all
            parts = {place for place in self._files(self.folder / PARTS) if _is_part(place)}
            files = {
                place: facts
                for place, facts in self._files(self.folder).items()
                if not _is_hidden(place) and (place in parts or not _is_part(place))
            }
            new = [place for place, facts in files.items() if place not in self._alike or self._is_newer(place)]
            gone = [place for place in self._seen if place not in files and not (self.folder / place).exists()]
            self._seen |= files.keys()
            if not new and not gone:
                return 0
            try:
                self._send([place for place in new if not _is_part(place)], files)
                self._send([place for place in new if _is_part(place)], files)
                self._delete(gone)
            finally:
                self._record()
            return len(new) + len(gone)

    def begin(self) -> None:
        """Send what is new from now on, until `end`. Raises OutputError if nothing can be written there."""
        if self._thread is not None or multiprocessing.parent_process() is not None:
            return  # whoever began the process sends
        self.objects.require_writable()
        self._stop.clear()
        self._thread = threading.Thread(target=self._keep_sending, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Send the rest. Raises OutputError as `push` does."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None
            self.push()

    def _keep_sending(self) -> None:
        pause = EVERY_S
        while not self._stop.wait(pause):
            began = time.monotonic()
            try:
                self.push()
            except OutputError as error:
                if not self._was_told:
                    self._was_told = True
                    print(f"warning: {error}", file=sys.stderr)
            except OSError:
                continue  # a file went while it was looked at
            pause = max(EVERY_S, 2 * (time.monotonic() - began))  # most of the time is the work's

    def _below(self, folder: Path) -> dict[str, Facts]:
        """What is there below a folder; of the whole store if it was listed, else asked for."""
        if self._there is not None:
            return self._there
        place = self._place(folder)
        return self.objects.files("" if place == "." else place)

    def _download(self, places: Iterable[str], there: Mapping[str, Facts]) -> int:
        """Those that are not here as they are there, parts last; returns how many."""
        wanted = [place for place in places if self._is_older(place, there[place])]

        def get(place: str) -> None:
            with replacing(self.folder / place) as temporary:
                self.objects.get(place, temporary)
            if (facts := _facts(self.folder / place)) is not None:
                self._alike[place] = Mark(*facts, there[place].version)

        for late in (False, True):
            each(get, [place for place in wanted if _is_part(place) is late])
        return len(wanted)

    def _is_older(self, place: str, there: Facts) -> bool:
        mark, facts = self._alike.get(place), _facts(self.folder / place)
        if facts is None or mark is None:  # where the record was lost, the store is there
            return True
        return facts == mark[:2] and mark.version != there.version

    def _is_newer(self, place: str) -> bool:
        """Whether a file was written here since it was alike."""
        return _facts(self.folder / place) not in (None, self._alike[place][:2])

    def _send(self, places: Collection[str], files: Mapping[str, tuple[int, int]]) -> None:
        def put(place: str) -> None:
            facts = self.objects.put(self.folder / place, place)
            if facts is not None:
                self._alike[place] = Mark(*files[place], facts.version)
                if self._there is not None:
                    self._there[place] = facts

        each(put, places)

    def _delete(self, places: Collection[str]) -> None:
        def delete(place: str) -> None:
            self.objects.remove(place)
            self._alike.pop(place, None)
            self._seen.discard(place)
            if self._there is not None:
                self._there.pop(place, None)

        for part in (True, False):  # an array without its part is nothing, a part without its array is damaged
            each(delete, [place for place in places if _is_part(place) is part])

    def _place(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _files(self, folder: Path) -> dict[str, tuple[int, int]]:
        """place -> size and time of the files below a folder."""
        files = (path for path in folder.rglob("*") if path.is_file())
        return {self._place(path): facts for path in files if (facts := _facts(path)) is not None}

    def _know_what_others_did(self) -> None:
        """Take over what other processes of this machine, which share the folder, have sent and fetched."""
        facts = _facts(self.home / RECORD)
        if facts == self._read:
            return
        self._read = facts
        try:
            stored: Any = json.loads((self.home / RECORD).read_text(encoding="utf-8"))
            marks = {place: Mark(*mark) for place, mark in stored["alike"].items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return
        for place, mark in marks.items():
            if place not in self._alike or _facts(self.folder / place) == mark[:2]:
                self._alike[place] = mark

    def _record(self) -> None:
        record = {"address": self.address, "alike": self._alike}
        write_file(self.home / RECORD, json.dumps(record), remedy="make room in the cache")
        self._read = _facts(self.home / RECORD)


def stores_folder() -> Path:
    """Where stores at addresses are on this machine."""
    return cache_folder() / "stores"


def home_of(address: str) -> Path:
    """The folder of a store's mirror and its record."""
    return stores_folder() / hashlib.sha256(address.encode()).hexdigest()[:16]


def _facts(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _is_hidden(place: str) -> bool:
    """Temporary files and locks, and what concerns this machine alone."""
    return place in LEFT_HERE or any(name.startswith(".") for name in place.split("/"))


def _is_part(place: str) -> bool:
    return place.startswith(PARTS) and place.endswith(".parquet")


def _is_table(place: str, facts: Facts) -> bool:
    """Parts with their arrays, unless these are large."""
    return _is_part(place) or (facts.size < LARGE and (place.startswith(PARTS) or place in BESIDE))
