"""What a report says of weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from stmbench.reporting import build_report, read_stores
from stmbench.reporting.facts import facts, samples_text
from stmbench.tables import Row, Store, frame_of
from tests.comparison.stores import costs
from tests.comparison.stores import row as stored_row
from tests.tables.frames import WHEN, with_attrs


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["random:0"], "random:0 (never trained: cost hardly depends on them, quality does)"),
        (["a.pth:1a"], "a.pth:1a"),
        (["digits.e12.s0:1a", "digits.e12.s0:2b"], "digits.e12.s0 (2 checkpoints)"),
        (
            ["digits.e12.s0:1a", "random:1", "a.pth:3c", "digits.e12.s0:2b"],
            "digits.e12.s0 (2 checkpoints), a.pth:3c; random:1 (never trained)",
        ),
    ],
    ids=["random", "one", "trained", "mixed"],
)
def test_weights_are_named_by_their_source(labels: list[str], said: str) -> None:
    rows = [
        Row(run_id="20260314T092653-ab12", created_utc=WHEN, kind="summary", analysis="eval", definition="eval.v1",
            model=f"unified_dw_conv_nano[halo={number}]", metric="accuracy", unit="1", value=0.5, weights=label)
        for number, label in enumerate(labels)
    ]  # fmt: skip
    assert dict(facts(with_attrs(frame_of(rows))))["Weights"] == said


def _answer(seed: int, *, images: int = 355, weights: str | None = None) -> Row:
    label = f"digits.e12.s{seed}:ab{seed}" if weights is None else weights
    known = {"analysis": "eval", "definition": "eval.v1", "dataset": "digits:cd", "split": "test"}
    return stored_row(metric="accuracy", unit="1", value=0.9, num_images=images, weights=label, **known)


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([_answer(0), _answer(1)], "Data: digits, test, 355 images, 32 px. Weights: trained (digits.e12, 2 seeds)."),
        ([_answer(0)], "Data: digits, test, 355 images, 32 px. Weights: trained (digits.e12, 1 seed)."),
        (
            [_answer(0, weights="random:0")],
            "Data: digits, test, 355 images, 32 px. Weights: never trained (random, 1 seed).",
        ),
        (
            [_answer(0), _answer(0, images=64)],
            "Data: digits, test, 355 or 64 images, 32 px. Weights: trained (digits.e12, 1 seed).",
        ),
        ([_answer(0, weights="given:0a1b")], "Data: digits, test, 355 images, 32 px. Weights: given:0a1b."),
        (costs(), "Input: 32 px. Weights: never trained (random, 1 seed)."),
    ],
)
def test_captions_state_samples(rows: list[Row], text: str) -> None:
    assert samples_text(frame_of(rows)) == text
    if text:
        assert all(
            plot.measured.endswith(text) for part in build_report(frame_of(rows)).sections for plot in part.plots
        )


def test_captions_count_classes_where_the_store_knows_them(tmp_path: Path) -> None:
    store, (row,) = Store(tmp_path), [_answer(0)]
    store.write("ab", [row], metadata={"outputs": {row.model: 10}})
    known = read_stores([tmp_path])
    assert samples_text(known).startswith("Data: digits, test, 355 images, 32 px, 10 classes.")
    assert "classes" not in samples_text(frame_of([row])), "a store of before knows none"
