"""docs/mixers.md has a card for each mixer, as the registry and the mixers' own documentation have it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks import mixer_cards
from benchmarks.mixer_cards import card, found_in, overview, picture
from stmbench.mixers import BUILTIN
from stmbench.mixers.base import MIXERS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "mixers.md"


def test_every_card_is_that_of_the_registry() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert overview() in page
    stale = [name for name in BUILTIN if card(MIXERS.get(name), "", None) not in page]
    assert stale == [], "run python -m benchmarks.mixer_cards docs"


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs" / "images" / "mixers").glob("*.png"))
    assert {path.stem for path in pictures} <= set(BUILTIN)
    assert all(path.stat().st_size < 40_000 for path in pictures)


def test_a_picture_has_a_map_for_each_position() -> None:
    assert len(picture("dw_conv", None).axes) == 4


def test_findings_are_means_over_seeds_beside_the_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("dw_conv", 0.9), ("dw_conv", 0.8), ("identity", 0.5)]
    frame = pd.DataFrame([{"mixer": mixer, "value": value} for mixer, value in rows])
    frame = frame.assign(kind="summary", analysis="eval", metric="accuracy")
    for column in ("definition", "stage", "level", "condition"):
        frame[column] = float("nan")
    monkeypatch.setattr(mixer_cards, "read", lambda store: frame)
    assert found_in(Path())["dw_conv"] == "85.0% correct (identity 50.0%)"
    assert found_in(None) == {}
