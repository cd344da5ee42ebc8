"""Mixers with limits (one size, one dtype, one width in eight, a kept tensor) work in every command within them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from stmbench.analyses.match import match
from stmbench.analyses.models import require_resolution
from stmbench.analyses.profile.costs import model_costs
from stmbench.architectures.catalog import create_model
from stmbench.errors import ConfigError, InputError
from stmbench.measure.counting import count
from stmbench.mixers import trials
from stmbench.mixers.base import MIXERS
from stmbench.mixers.conformance import conform
from stmbench.plugins import load_plugin
from tests.commands import run
from tests.training import runs

pytestmark = pytest.mark.slow

FILE = Path(__file__).with_name("limited_mixers.py")
ON_CPU = ("grid_filter", "single_sum", "octet_mix", "keeps_gate")
NAMES = ("grid_filter", "single_sum", "gpu_shift", "octet_mix", "keeps_gate")


@pytest.fixture(autouse=True)
def _loaded() -> None:
    assert load_plugin(FILE).registered == {"mixer": NAMES}  # tried out too


def _macs(module: Any, size: tuple[int, int, int]) -> int:
    return count(module, size).macs


def _left(name: str, **chosen: Any) -> dict[str, tuple[str, str]]:
    outcomes = conform(MIXERS.get(name), count=_macs, **chosen)
    skipped = ("reference", "merge", "affinity", "affinity_forms")  # they have none
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


@pytest.mark.parametrize("mixer", ON_CPU)
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
    found = {name: trials.channel_multiple(MIXERS.get(name)) for name in (*NAMES, "halo_attn")}
    assert found == {**dict.fromkeys(NAMES, 1), "octet_mix": 8, "halo_attn": 32}
    (matched,) = match(["unified_octet_mix_tiny", "unified_dw_conv_tiny"], "params").matches
    assert abs(matched.deviation) <= 0.05


def test_a_mixer_of_another_device_is_checked_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "is_there", lambda device: device == "cpu")
    outcomes = conform(MIXERS.get("gpu_shift"), count=_macs)
    assert [o.check for o in outcomes if o.status == "passed"] == [
        "frozen_config",
        "config_refuses_nonsense",
        "config_at_is_a_function",
    ]
    assert {(o.status, o.found) for o in outcomes[3:]} == {
        ("skipped", "it runs on cuda alone, which this machine does not have")
    }
    lines = run.stmbench("check", "gpu_shift").stdout.splitlines()
    assert lines[1:3] == [
        "  runs on cuda alone",
        "  its gradients may differ from run to run: atomic additions on CUDA",
    ]
    assert lines[-2].endswith("checks that run the mixer: it runs on cuda alone, which this machine does not have")
    assert len(lines) == 8  # name, two facts, three that passed, one line for the others, the summary


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gpu_shift", "--device", "cpu"), "expected cuda, the only device of gpu_shift, got cpu; use --device cuda"),
        (("single_sum", "--dtype", "fp64"), "expected float32, the only dtype of single_sum, got float64"),
        (("single_sum", "--dtype", "half"), "expected a dtype (float64, float32, bfloat16, float16), got 'half'"),
        (("single_sum", "--device", "tpu"), "expected a device, got 'tpu'"),
    ],
)
def test_what_a_mixer_does_not_have_is_refused(arguments: tuple[str, ...], message: str) -> None:
    assert run.refusal("check", *arguments).startswith(message)


@pytest.mark.parametrize(
    ("mixer", "chosen", "message"),
    [
        ("single_sum", ["--dtype", "bf16"], "expected float32, the only dtype of single_sum, got bfloat16"),
        ("gpu_shift", ["--device", "cpu"], "expected cuda, the only device of gpu_shift, got cpu"),
    ],
)
def test_a_run_elsewhere_has_the_reason(mixer: str, chosen: list[str], message: str, tmp_path: Path) -> None:
    common = ["--models", f"unified_{mixer}_nano", "--num-images", "2", "--plugin", str(FILE)]
    result = run.stmbench("erf", *common, *chosen, "--out", str(tmp_path / "store"))
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_a_mixer_of_another_device_is_counted() -> None:
    costs = model_costs("unified_gpu_shift_nano", (32, 32), seed=0)
    macs = next(cost.value for cost in costs if cost.metric == "macs")
    assert macs == count(create_model("unified_identity_nano"), (3, 32, 32)).macs


@pytest.mark.parametrize(
    ("mixer", "chosen", "reason"),
    [
        ("single_sum", {"dtype": "bf16"}, "expected float32, the only dtype of single_sum, got bfloat16"),
        ("gpu_shift", {}, "expected cuda, the only device of gpu_shift, got cpu"),
        ("grid_filter", {"resolution": (48, 48)}, "expected an image of 32x32, the only size that grid_filter takes"),
    ],
)
def test_a_training_beyond_the_limits_fails_with_the_reason(
    mixer: str, chosen: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    run = runs.settings(runs.folders(tmp_path / "images"), model=f"unified_{mixer}_nano", **chosen)
    (failure,) = runs.training(tmp_path / "store", run).run().failures
    assert reason in failure


def test_a_training_that_should_repeat_exactly_names_what_does_not(tmp_path: Path) -> None:
    run = runs.settings(runs.folders(tmp_path / "images"), model="unified_gpu_shift_nano")
    said = "gpu_shift: a second run of a seed may give other weights: atomic additions on CUDA"
    made = runs.training(tmp_path / "store", run)
    assert said not in made.remarks()
    torch.use_deterministic_algorithms(True)
    try:
        assert said in made.remarks()
    finally:
        torch.use_deterministic_algorithms(False)


def test_lists_say_the_limits() -> None:
    said = run.stmbench("list", "mixers", "*_*").stdout
    assert "gpu_shift: its gradients may differ from run to run: atomic additions on CUDA" in said
    assert "grid_filter: computes in float64 or float32 alone" in said
    (facts,) = json.loads(run.stmbench("list", "mixers", "grid_filter", "--json").stdout)
    assert (facts["any_size"], facts["dtypes"], facts["devices"]) == (False, ["float64", "float32"], [])
