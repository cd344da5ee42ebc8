"""What a report says of weights."""

from __future__ import annotations

import pytest

from stmbench.reporting.facts import facts
from stmbench.tables import Row, frame_of
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
def test_weights_are_told_by_their_source(labels: list[str], said: str) -> None:
    rows = [
        Row(run_id="20260314T092653-ab12", created_utc=WHEN, kind="summary", analysis="eval", definition="eval.v1",
            model=f"unified_dw_conv_nano[halo={number}]", metric="accuracy", unit="1", value=0.5, weights=label)
        for number, label in enumerate(labels)
    ]  # fmt: skip
    assert dict(facts(with_attrs(frame_of(rows))))["Weights"] == said
