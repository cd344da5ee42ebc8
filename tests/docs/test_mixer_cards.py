"""docs/mixers.md has a card for each mixer, as the registry and the mixers' own documentation have it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks import findings
from benchmarks.findings import kept
from benchmarks.mixer_cards import PICTURED, cost, costs, page, picture
from stmbench.architectures.catalog import create_model
from stmbench.mixers import BUILTIN
from stmbench.mixers.base import MIXERS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "mixers.md"


def test_the_page_is_that_of_the_registry_and_of_the_kept_findings() -> None:
    text = page(kept(), ROOT / "docs")
    assert text == PAGE.read_text(encoding="utf-8"), "run python -m benchmarks.mixer_cards docs"


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs" / "images" / "mixers").glob("*.png"))
    assert {path.stem for path in pictures} <= set(BUILTIN)
    assert all(path.stat().st_size < 40_000 for path in pictures)


def test_a_picture_has_a_map_for_each_position() -> None:
    assert len(picture("dw_conv", None).axes) == 4


def test_a_card_is_about_the_costlier_block_and_says_where_blocks_differ() -> None:
    differing = [name for name in BUILTIN if len(costs(MIXERS.get(name))[1]) > 1]
    assert differing == ["dilated_rep_kernel"]
    assert costs(MIXERS.get("dilated_rep_kernel")) == (64, [(18_048, 17_280), (704, 576)])
    assert cost(MIXERS.get("dilated_rep_kernel")) == (
        "18,048 parameters and 17,280 multiply-adds per position (64 channels, 14 x 14 positions); every second block "
        "of the third stage has a smaller one: 704 parameters and 576 multiply-adds per position"
    )


@pytest.mark.parametrize(("name", "part"), [("dilated_rep_kernel", "spread.convs.1.weight"),
                                            ("gated_conv_gf", "filter.spectrum")])  # fmt: skip
def test_a_picture_is_of_the_first_block_that_has_what_the_card_is_about(name: str, part: str) -> None:
    mixers = [mixer for _, _, mixer in create_model(f"unified_{name}_nano").mixers()]  # type: ignore[operator]
    assert [part in mixer.state_dict() for mixer in mixers].index(True) == PICTURED[name]


def test_findings_are_means_over_seeds_beside_the_controls_and_stay_when_the_store_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "KEPT", tmp_path / "findings.csv")
    before = [("relation", "dw_conv", "shapes seed 0", 0.98), ("relation", "dw_conv", "shapes seed 1", 0.52),
              ("relation", "identity", "shapes seed 0", 0.5),
              ("accuracy", "dw_conv", "digits.e1.s0:0", 0.1)]  # fmt: skip
    pd.DataFrame(before, columns=findings.COLUMNS).to_csv(findings.KEPT, index=False)
    rows = [("dw_conv", "s0", 0.9), ("dw_conv", "s1", 0.8), ("identity", "s0", 0.5)]
    frame = pd.DataFrame(
        [{"mixer": mixer, "weights": f"digits.e9.{seed}:1", "value": value} for mixer, seed, value in rows]
    )
    frame = frame.assign(kind="summary", analysis="eval", metric="accuracy")
    for column in ("definition", "stage", "level", "condition"):
        frame[column] = float("nan")
    monkeypatch.setattr(findings, "read", lambda store: frame)
    findings.renewed([Path()])
    said = findings.sentences(findings.kept())["dw_conv"]
    assert said == ("85.0% correct (identity 50.0%); 1 of 2 trainings learn a relation of distant figures (identity 0)")
