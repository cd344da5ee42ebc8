"""Progress in a notebook."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import stmbench as sb
from stmbench.analyses.base import Progress
from stmbench.api import results
from stmbench.tables import read


class FakeBar:
    """Notes what is drawn; Ctrl-C comes when it is about to draw for the `interrupted`-th time."""

    def __init__(self, interrupted: int | None = None, **_: Any) -> None:
        self.drawn: list[tuple[str, float, float]] = []
        self.total, self.n, self.text, self.left = 1.0, 0.0, "", ""
        self.closed, self._interrupted = False, interrupted

    def set_description_str(self, text: str, refresh: bool) -> None:
        self.text = text

    def set_postfix_str(self, text: str, refresh: bool) -> None:
        self.left = text

    def close(self) -> None:
        self.closed = True

    def refresh(self) -> None:
        if len(self.drawn) + 1 == self._interrupted:
            raise KeyboardInterrupt
        self.drawn.append((self.text, self.n, self.total))


def test_a_bar_moves_but_not_at_every_event() -> None:
    bar = FakeBar()
    listener = results.NotebookBar(bar)
    listener(Progress(text="erf of a", done=1, total=4))
    listener(Progress(text="erf of a", done=2, total=4))
    listener(Progress(text="erf of b", done=9, total=4))
    assert bar.drawn == [("erf of a", 1, 4), ("erf of b", 4, 4)]


@pytest.mark.parametrize(("seconds", "shown"), [(None, ""), (75.0, "about 1:15 min left")])
def test_a_bar_says_how_long_is_left(seconds: float | None, shown: str) -> None:
    bar = FakeBar()
    results.NotebookBar(bar)(Progress(text="erf of a", done=0, total=0, seconds_left=seconds))
    assert bar.left == shown
    assert bar.drawn == [("erf of a", 0, 1)]  # a total of none would divide by zero


def test_ctrl_c_in_a_notebook_closes_the_bar_and_leaves_a_store_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = [FakeBar(interrupted=2), FakeBar()]
    made = iter(bars)
    monkeypatch.setattr(results, "in_notebook", lambda: True)
    monkeypatch.setitem(sys.modules, "tqdm.auto", SimpleNamespace(tqdm=lambda **_: next(made)))
    models = ["unified_identity_nano", "unified_dw_conv_nano"]
    asked: dict[str, Any] = {"timing": False, "resolution": 32, "out": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        sb.profile(models, **asked)
    assert bars[0].closed
    finished = set(read(tmp_path)["model"])
    again = sb.profile(models, **asked)
    assert bars[1].closed
    assert again.reused == len(finished) == 1
    assert again.measured == 1
    assert set(again.table["model"]) == set(models)


def test_a_notebook_without_tqdm_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "in_notebook", lambda: True)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with results.listener_of(True) as listener:
        assert listener is None


def test_none_is_wanted() -> None:
    with results.listener_of(False) as listener:
        given: Any = listener
    assert given is None
