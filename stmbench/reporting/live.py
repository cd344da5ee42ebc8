"""The page of a store that is being written: the report, drawn again when rows changed, and the runs under way.

Both are made in one thread, which works only while somebody asks, and rests several times as long as drawing took.
Readers are given what there is. Nothing is locked and nothing is written, so no writer ever waits.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import pandas as pd
from markupsafe import Markup

from stmbench import __version__
from stmbench.analyses.registry import View, spec_of
from stmbench.errors import StmbenchError
from stmbench.reporting.content import Report
from stmbench.reporting.formats.html import TEMPLATES, html
from stmbench.reporting.formats.svg import inline
from stmbench.tables import Store, packed
from stmbench.tables.files import CHECKPOINTS, PROGRESS
from stmbench.tables.labels import duration
from stmbench.tables.rows import printable_in
from stmbench.tables.schema import SCHEMA

REST: Final = 4  # times as long as drawing took
LEAST_REST_S: Final = 1.0
FIRST_WAIT_S: Final = 300.0  # for the first drawing; a large store takes seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn:
    """A part of the page, the state of the store it shows, and its text."""

    version: str
    text: str


NOTHING: Final = Drawn(version="", text="")


class LivePage:
    """What a server shows of a store.

    Args:
        store: its folder, which may be empty or missing.
        build: the store's report, given its folder; a StmbenchError becomes a sentence on the page.
        refresh: called before each look at the folder.
    """

    def __init__(
        self, store: Path, build: Callable[[Path], Report], *, refresh: Callable[[], None] = lambda: None
    ) -> None:
        self.store, self._build, self._refresh = store, build, refresh
        self._both = (NOTHING, NOTHING)  # the page and the runs under way: replaced together, as they are read
        self._wanted, self._ready = threading.Event(), threading.Event()
        threading.Thread(target=self._work, daemon=True, name="page").start()

    def page(self) -> str:
        """The whole page; the first call waits for it."""
        return self._drawn()[0].text

    def training(self) -> str:
        """The section on runs under way, as an element of the page; empty where there are none."""
        return self._drawn()[1].text

    def versions(self) -> dict[str, str]:
        """Of the page and of the runs under way, as they are drawn; newer ones are being drawn if the store changed."""
        rows, training = self._drawn()
        return {"rows": rows.version, "training": training.version}

    def _drawn(self) -> tuple[Drawn, Drawn]:
        self._wanted.set()
        self._ready.wait(FIRST_WAIT_S)
        return self._both

    def _work(self) -> None:
        while self._wanted.wait():
            self._wanted.clear()
            began = time.monotonic()
            self._draw()
            self._ready.set()
            time.sleep(max(LEAST_REST_S, REST * (time.monotonic() - began)))

    def _draw(self) -> None:
        """Draw what has changed."""
        self._refresh()
        rows, training = self._both
        files = [*self.store.glob("parts/*.parquet"), *self.store.glob(f"parts/{packed.STEM}.*.*")]
        parts, runs = _stamp(files), _stamp(progress_files(self.store))
        if rows.version != parts:
            rows = Drawn(version=parts, text=self._page(parts))
        # a part that appeared may be a run's that was under way
        version = hashlib.sha256(f"{parts} {runs}".encode()).hexdigest()[:16]
        if training.version != version:
            training = Drawn(version=version, text=_training(self.store))
        self._both = rows, training

    def _page(self, version: str) -> str:
        lead = "There are no rows yet. The report appears here with the first ones."
        if any(self.store.glob("parts/*.parquet")):
            try:
                return html(self._build(self.store), live=version)
            except StmbenchError as error:
                lead = f"The report cannot be shown: {error}."
            except Exception as error:  # the next rows may do better
                lead = f"The report cannot be drawn: {type(error).__name__}: {error}."
        return html(_empty(self.store, lead), live=version)


def _empty(store: Path, lead: str) -> Report:
    """A report without rows."""
    report = Report(
        title=str(store),
        lead=lead,
        headline=None,
        facts=(("Store", str(store)),),
        caveats=(),
        subjects=(),
        sections=(),
        rows=0,
        version=__version__,
    )
    return printable_in(report)


def _stamp(files: Iterable[Path]) -> str:
    """A hash of files' names, sizes and times; files that vanish meanwhile are none."""
    found = []
    for file in sorted(files):
        try:
            stat = file.stat()
        except OSError:
            continue
        found.append(f"{file.name} {file.parent.name} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}")
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]


def progress_files(store: Path) -> list[Path]:
    """Where the store's training runs say how far they are."""
    return sorted(store.glob(f"{CHECKPOINTS}/*/{PROGRESS}"))


def runs_under_way(store: Path) -> list[dict[str, Any]]:
    """What runs without a part say of themselves, the last written first; damaged files are left out."""
    found, files = [], progress_files(store)
    done = set(Store(store).names()) if files else set[str]()
    for file in files:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, IndexError):
            run = _run(printable_in(json.loads(file.read_text(encoding="utf-8"))))
            if run["key"] not in done:
                found.append(run)
    return sorted(found, key=lambda run: -run["written"])


def _run(content: dict[str, Any]) -> dict[str, Any]:
    """What a progress file says, as the page needs it. Raises ValueError and others for a damaged or newer one."""
    if content["version"] != 2 or not str(content["key"]).isalnum():
        raise ValueError("another file")
    done, epochs, seconds = float(content["done"]), int(content["epochs"]), float(content["seconds"])
    headline = str(content["headline"] or "accuracy")  # of its task; there is none before the first epoch's end
    written = {"train_loss": content["train_loss"], headline: content["scores"]}
    curves = {name: [(float(place), float(value)) for place, value in points] for name, points in written.items()}
    return {
        "key": content["key"],
        "columns": {"mixer": None, **content["columns"]},
        "mixers": dict(content["mixers"]),
        "curves": curves,
        "epochs": epochs,
        "epoch": min(epochs, int(done * epochs) + 1),
        "percent": f"{100 * done:.0f} %",
        "left": duration(seconds * (1 - done) / done) if done else None,
        "written": float(content["written"]),
        "loss": curves["train_loss"][-1][1] if curves["train_loss"] else None,
        "headline": headline,
        "score": curves[headline][-1][1] if curves[headline] else None,
    }


def _training(store: Path) -> str:
    try:
        return training_html(store)
    except Exception as error:  # such as columns of a version to come
        return str(Markup("<p>The training runs cannot be drawn: {}</p>").format(f"{type(error).__name__}: {error}"))


def training_html(store: Path) -> str:
    """The section on runs under way; empty where there are none."""
    runs = runs_under_way(store)
    if not runs:
        return ""
    figures = {}
    frame, spec = curve_rows(runs), spec_of("train")
    draw = None if spec is None else spec.view("figures")
    if draw is not None and len(frame):
        for name, figure in draw(View(rows=frame, whole=frame, folder=store)).items():
            for axes in figure.axes:  # room for what is to come
                axes.set_xlim(0, 1.02 * max(run["epochs"] for run in runs))
            title = name.replace("_", " ").capitalize()
            figures[title] = inline(figure, f"live-{name}", title=title, description="Loss and accuracy so far.")
    return str(Markup(TEMPLATES.get_template("live.html.j2").render(runs=runs, figures=figures)))


def curve_rows(runs: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Points of the curves as rows of the analysis 'train'; `sample` is the place in epochs, less one."""
    known = {"kind": "raw", "analysis": "train", "definition": "train.v1", "unit": "1", "status": "ok"}
    rows = [
        {**known, **run["columns"], "metric": metric, "sample": place - 1, "value": value}
        for run in runs
        for metric, points in run["curves"].items()
        for place, value in points
    ]
    frame = pd.DataFrame(rows, columns=[column.name for column in SCHEMA])
    frame.attrs["mixers"] = {name: facts for run in runs for name, facts in run["mixers"].items()}
    return frame
