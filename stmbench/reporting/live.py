"""The page of a store that is being written: the report, drawn again when rows changed, and the runs under way.

Both are made in one thread, which works only while somebody asks, and rests several times as long as drawing took.
Readers are given what there is. Nothing is locked and nothing is written, so no writer ever waits.
"""

from __future__ import annotations

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
from stmbench.errors import StmbenchError, printable
from stmbench.reporting.content import Report
from stmbench.reporting.formats.html import TEMPLATES, html, inline
from stmbench.tables.files import CHECKPOINTS, PROGRESS
from stmbench.tables.labels import duration
from stmbench.tables.rows import printable_in
from stmbench.tables.schema import SCHEMA

REST: Final = 4  # times as long as drawing took
LEAST_REST_S: Final = 1.0
FIRST_WAIT_S: Final = 300.0  # for the first drawing; a large store takes seconds
CURVES: Final = ("train_loss", "accuracy")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn:
    """A part of the page, the state of the store it shows, and its text."""

    version: str
    text: str


class LivePage:
    """What a server shows of a store.

    Args:
        store: its folder, which may be empty or missing.
        build: the store's report, given its folder; a StmbenchError becomes a sentence on the page.
    """

    def __init__(self, store: Path, build: Callable[[Path], Report]) -> None:
        self.store, self._build = store, build
        self._rows: Drawn | None = None
        self._training: Drawn | None = None
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
        assert self._rows is not None
        assert self._training is not None
        return self._rows, self._training

    def _work(self) -> None:
        while self._wanted.wait():
            self._wanted.clear()
            began = time.monotonic()
            self._draw()
            self._ready.set()
            time.sleep(max(LEAST_REST_S, REST * (time.monotonic() - began)) if self._changed else LEAST_REST_S)

    def _draw(self) -> None:
        """Draw what has changed."""
        parts, runs = _stamp(self.store.glob("parts/*.parquet")), _stamp(progress_files(self.store))
        self._changed = False
        if self._rows is None or self._rows.version != parts:
            self._rows, self._changed = Drawn(version=parts, text=html(self._report(), live=parts)), True
        # a part that appeared may be a run's that was under way
        version = hashlib.sha256(f"{parts} {runs}".encode()).hexdigest()[:16]
        if self._training is None or self._training.version != version:
            self._training, self._changed = Drawn(version=version, text=training_html(self.store)), True

    def _report(self) -> Report:
        if not any(self.store.glob("parts/*.parquet")):
            return _empty(self.store, "There are no rows yet. The report appears here with the first ones.")
        try:
            return self._build(self.store)
        except StmbenchError as error:
            return _empty(self.store, f"The report cannot be shown: {error}.")
        except Exception as error:  # the page goes on with the next rows
            return _empty(self.store, f"The report cannot be drawn: {type(error).__name__}: {error}.")


def _empty(store: Path, lead: str) -> Report:
    """A report without rows."""
    return printable_in(
        Report(title=str(store), lead=lead, headline=None, facts=(("Store", str(store)),), caveats=(), subjects=(),
               sections=(), rows=0, version=__version__)  # fmt: skip
    )


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
    found = []
    for file in progress_files(store):
        try:
            run = printable_in(json.loads(file.read_text(encoding="utf-8")))
            key, done, epochs, written = str(run["key"]), float(run["done"]), int(run["epochs"]), float(run["written"])
            if run["version"] != 1 or "/" in key or (store / "parts" / f"{key}.parquet").exists():
                continue
            losses, accuracies = run["train_loss"], run["accuracy"]
            curves = [(metric, float(place), float(value)) for metric in CURVES for place, value in run[metric]]
            left = float(run["seconds"]) * (1 - done) / done if done else None
            found.append({
                **{"columns": dict(run["columns"]), "mixers": dict(run["mixers"]), "curves": curves, "epochs": epochs},
                **{"written": written, "epoch": min(epochs, int(done * epochs) + 1), "percent": f"{100 * done:.0f} %"},
                **{"loss": losses[-1][1] if losses else None, "accuracy": accuracies[-1][1] if accuracies else None},
                "left": None if left is None else duration(left),
            })  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            continue
    return sorted(found, key=lambda run: -run["written"])


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
            title = name.replace("_", " ").capitalize()
            figures[title] = inline(figure, f"live-{name}", title=title, description="Loss and accuracy so far.")
    return str(Markup(TEMPLATES.get_template("live.html.j2").render(runs=runs, figures=figures)))


def curve_rows(runs: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Points of the curves as rows of the analysis 'train'; `sample` is the place in epochs, less one."""
    known = {"kind": "raw", "analysis": "train", "definition": "train.v1", "unit": "1", "status": "ok"}
    rows = [
        {**known, **run["columns"], "metric": metric, "sample": place - 1, "value": value}
        for run in runs
        for metric, place, value in run["curves"]
    ]
    frame = pd.DataFrame(rows, columns=[column.name for column in SCHEMA])
    frame.attrs["mixers"] = {name: facts for run in runs for name, facts in run["mixers"].items()}
    return frame
