"""Progress in a notebook."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from stmbench.analyses.base import Progress
from stmbench.api import results


class FakeBar:
    """Notes what is drawn."""

    def __init__(self) -> None:
        self.drawn: list[tuple[str, float, float]] = []
        self.total, self.n, self.text = 1.0, 0.0, ""

    def set_description_str(self, text: str, refresh: bool) -> None:
        self.text = text

    def set_postfix_str(self, text: str, refresh: bool) -> None:
        pass

    def refresh(self) -> None:
        self.drawn.append((self.text, self.n, self.total))


def test_a_bar_moves_but_not_at_every_event() -> None:
    bar = FakeBar()
    listener = results.NotebookBar(bar)
    listener(Progress(text="erf of a", done=1, total=4))
    listener(Progress(text="erf of a", done=2, total=4))
    listener(Progress(text="erf of b", done=9, total=4))
    assert bar.drawn == [("erf of a", 1, 4), ("erf of b", 4, 4)]


def test_a_notebook_without_tqdm_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "in_notebook", lambda: True)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with results.listener_of(True) as listener:
        assert listener is None


def test_none_is_wanted() -> None:
    with results.listener_of(False) as listener:
        found: Any = listener
    assert found is None
