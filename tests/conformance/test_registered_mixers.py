"""Every registered mixer keeps the contract, and so does the example of a user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from stmbench.measure.counting import count
from stmbench.mixers import BUILTIN
from stmbench.mixers.base import MIXERS, Mixer
from stmbench.mixers.conformance import Outcome, conform
from stmbench.plugins import load_plugin

WITHOUT_AFFINITY = (
    "conv3",
    "group_conv3",
    "cot_static",
    "afno",
    "xca",
    "gated_conv",
    "gated_conv_gf",
)  # they sum over channels: no map of values, position by position; or multiply several sums
EXAMPLE = Path(__file__).parents[2] / "examples" / "my_mixer.py"


def _outcomes(name: str) -> list[Outcome]:
    return conform(MIXERS.get(name), count=lambda module, size: count(module, size).macs)


@pytest.mark.parametrize("name", BUILTIN)
def test_a_registered_mixer_passes_every_check(name: str) -> None:
    outcomes = _outcomes(name)
    # built-in mixers have a reference and a formula, so nothing may be skipped but the affinity and the merged
    # form that some cannot have
    left = {o.check: (o.status, o.found) for o in outcomes if o.status != "passed"}
    if MIXERS.get(name).module.merge is Mixer.merge:  # type: ignore[attr-defined]
        assert left.pop("merge") == ("skipped", "there is nothing to merge")
    if name in WITHOUT_AFFINITY:
        assert left.pop("affinity") == ("skipped", "the mixer offers no affinity")
        assert left.pop("affinity_forms")[0] == "skipped"
    assert left == {}
    assert len(outcomes) >= 18


def test_the_table_covers_the_registry() -> None:
    assert set(BUILTIN) <= set(MIXERS)


def test_the_example_keeps_the_contract() -> None:
    (name,) = load_plugin(EXAMPLE).registered["mixer"]
    assert name == "strip_modulation"
    left = [(o.check, o.status) for o in _outcomes(name) if o.status != "passed"]
    assert left == [("merge", "skipped"), ("affinity", "skipped"), ("affinity_forms", "skipped")]  # it offers none
