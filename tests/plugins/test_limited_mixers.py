"""Mixers with limits (one size, one dtype, one width in eight, a kept tensor) work in every command within them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from stmbench.analyses.match import match
from stmbench.analyses.models import require_resolution
from stmbench.architectures.catalog import create_model
from stmbench.errors import ConfigError, InputError
from stmbench.measure.counting import count
from stmbench.mixers import trials
from stmbench.mixers.base import MIXERS
from stmbench.mixers.conformance import conform
from stmbench.plugins import load_plugin
from tests.commands import run

FILE = Path(__file__).with_name("limited_mixers.py")
NAMES = ("grid_filter", "single_sum", "octet_mix", "keeps_gate")


@pytest.fixture(autouse=True)
def _loaded() -> None:
    assert load_plugin(FILE).registered == {"mixer": NAMES}  # tried out too


def _macs(module: Any, size: tuple[int, int, int]) -> int:
    return count(module, size).macs


def _left(name: str, **chosen: Any) -> dict[str, tuple[str, str]]:
    outcomes = conform(MIXERS.get(name), count=_macs, **chosen)
    skipped = ("reference", "affinity", "affinity_forms")  # they have none
    return {o.check: (o.status, o.found) for o in outcomes if o.status != "passed" and o.check not in skipped}


@pytest.mark.parametrize("dtype", ["float32", "float64", None])
def test_a_mixer_for_one_size_is_checked_at_its_own(dtype: str | None) -> None:
    left = _left("grid_filter", dtype=dtype)
    assert left.pop("any_size") == ("skipped", "any_size=False: it takes maps of its position's size alone")
    assert {name: status for name, (status, _) in left.items()} == {"bfloat16": "skipped", "autocast": "skipped"}


def test_a_mixer_of_one_dtype_is_compared_in_it() -> None:
    why = ("skipped", "bfloat16 is not among its dtypes: float32")
    assert _left("single_sum") == {"bfloat16": why, "autocast": why}


@pytest.mark.parametrize("name", ["octet_mix", "keeps_gate"])
def test_the_others_pass_every_check(name: str) -> None:
    assert _left(name) == {}


@pytest.mark.parametrize("mixer", NAMES)
def test_costs_of_a_model(mixer: str) -> None:
    model = create_model(f"unified_{mixer}_nano")
    images = torch.randn(2, 3, 32, 32)
    model.train()(images).sum().backward()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert count(model, (3, 32, 32)).macs > 10**6
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training


def test_the_count_of_a_mixer_that_keeps_a_tensor() -> None:
    module = MIXERS.get("keeps_gate").build(trials.position_of(MIXERS.get("keeps_gate")))
    module(torch.randn(1, 14, 14, 64, requires_grad=True))
    counted = count(module, (14, 14, 64))
    assert (counted.macs, counted.traced_on) == (64 * 64, "meta")
    assert module.last["gate"].grad_fn is not None  # type: ignore[index,union-attr]


def test_another_size_is_refused_by_the_network_in_words() -> None:
    model = create_model("unified_grid_filter_nano").eval()
    expected = "expected an image of 32x32, the only size that grid_filter takes here, got 32x48; "
    with pytest.raises(ConfigError, match=expected + "use that resolution, or a model with the option img_size=32-48"):
        model(torch.zeros(1, 3, 32, 48))
    with pytest.raises(InputError, match="expected an image of 32x32"):
        require_resolution(model, "unified_grid_filter_nano", (64, 64))
    assert create_model("unified_grid_filter_nano[img_size=32-48]").eval()(torch.zeros(1, 3, 32, 48)).shape == (1, 1000)


def test_a_detector_needs_maps_of_any_size() -> None:
    with pytest.raises(ConfigError, match="a mixer for maps of any size in a detector, got grid_filter"):
        create_model("retinanet:unified_grid_filter_nano")


@pytest.mark.parametrize("command", ["profile", "erf", "invariance"])
def test_other_resolutions_are_rows_with_the_reason(command: str, tmp_path: Path) -> None:
    own = {"profile": ["--no-timing"], "erf": ["--num-images", "2"]}.get(command, ["scale", "--num-images", "2"])
    chosen = ["--models", "unified_grid_filter_nano", "--resolution", "48", "--plugin", str(FILE), *own]
    result = run.stmbench(command, *chosen, "--out", str(tmp_path / "store"), "--json")
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "an image of 32x32, the only size that grid_filter takes here, got 48x48" in result.output


def test_a_profile_of_all_four(tmp_path: Path) -> None:
    chosen = ["--scale", "nano", "--mixers", ",".join(NAMES), "--no-timing", "--plugin", str(FILE)]
    result = run.stmbench("profile", *chosen, "--out", str(tmp_path / "store"), "--json")
    assert result.exit_code == 0, result.output
    rows = [row for row in json.loads(result.stdout) if row["metric"] == "macs" and row["condition"] is None]
    assert {row["model"] for row in rows} == {f"unified_{name}_nano" for name in NAMES}


def test_widths_are_multiples_that_trying_finds() -> None:
    entries = {name: MIXERS.get(name) for name in (*NAMES, "halo_attn")}
    assert [trials.channel_multiple(entry) for entry in entries.values()] == [1, 1, 8, 1, 32]
    (matched,) = match(["unified_octet_mix_tiny", "unified_dw_conv_tiny"], "params").matches
    assert abs(matched.deviation) <= 0.05
