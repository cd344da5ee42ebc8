"""What a profile does with a model that fails, is not ours, or cannot be what was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stmbench.analyses.profile import costs
from stmbench.errors import ConfigError, InputError, UnitError
from stmbench.measure.memory import MemorySpec
from stmbench.mixers.base import MixerConfig, register_mixer
from stmbench.tables import read
from tests.analyses.profiles import MODELS, memory, profile, raw, summary

__all__ = ["memory"]


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_model_that_fails_does_not_stop_the_others(tmp_path: Path, dtype: str) -> None:
    @register_mixer("picky", config=MixerConfig)
    class Picky(nn.Module):
        def __init__(self, config: MixerConfig) -> None:
            super().__init__()

        def forward(self, x: Tensor) -> Tensor:
            if x.dtype != torch.float32:
                raise RuntimeError('"picky" not implemented for BFloat16')
            return x

    models = (*MODELS, "unified_picky_nano")
    profile(tmp_path, models=models, dtypes=(dtype,), runs=True, time_budget=6.0).run()
    frame = read(tmp_path)
    failed = frame[frame["status"] == "failed"]
    timed = set(raw(frame[frame["status"] == "ok"], "throughput")["model"])
    if dtype == "fp32":
        assert failed.empty
        assert timed == set(models)
    else:
        assert set(failed["model"]) == {"unified_picky_nano"}
        assert failed["reason"].str.contains("not implemented for BFloat16").all()
        assert timed == set(MODELS)
        assert set(frame["dtype"].dropna()) == {"bf16"}


def test_a_batch_that_never_fits_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(spec: MemorySpec) -> None:
        raise UnitError("the process that measures memory was killed by SIGKILL, most likely out of memory")

    monkeypatch.setattr(costs, "peak_of_child", killed)
    report = profile(tmp_path, batch_size=10**6).run()
    assert sum("was killed by SIGKILL" in line for line in report.failures) == len(MODELS)
    failed = read(tmp_path).query("status == 'failed'")
    assert sorted(failed["model"]) == sorted(MODELS)


def test_a_model_without_mixers_cannot_be_taken_apart(tmp_path: Path) -> None:
    profile(tmp_path, level="operator", models=("timm:resnet18",), resolutions=((32, 32),), timing=False).run()
    (reason,) = read(tmp_path)["reason"].unique()
    assert "does not name its mixers" in reason


@pytest.mark.usefixtures("memory")
def test_any_of_timms_models_can_stand_beside_ours(tmp_path: Path) -> None:
    models = ("unified_dw_conv_nano", "timm:resnet18")
    profile(tmp_path, models=models, resolutions=((32, 32),), runs=True, time_budget=1.0).run()
    frame = read(tmp_path)
    assert (frame["status"] != "failed").all()
    assert set(summary(frame, "throughput_ratio")["baseline"]) == set(models)
    assert summary(frame, "params").set_index("model")["value"]["timm:resnet18"] == 11_689_512


def test_models_of_two_design_sizes_need_a_resolution(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--resolution"):
        profile(tmp_path / "store", models=("unified_dw_conv_nano", "timm:resnet18")).run()
    assert not (tmp_path / "store").exists()


def test_counts_are_taken_at_each_models_own_design_size(tmp_path: Path) -> None:
    models = ("unified_dw_conv_nano", "timm:resnet18")
    report = profile(tmp_path, models=models, timing=False).run()
    assert not report.failures
    frame = summary(read(tmp_path), "macs").set_index("model")
    assert frame["resolution"].to_dict() == {"unified_dw_conv_nano": "32", "timm:resnet18": "224"}
    assert frame["value"]["timm:resnet18"] == 1_814_073_344


def test_a_resolution_below_a_networks_limit_names_it(tmp_path: Path) -> None:
    models = ("unified_dw_conv_nano", "container_identity_nano", "timm:test_vit")
    report = profile(tmp_path, models=models, resolutions=((28, 28),), timing=False).run()
    frame = read(tmp_path)
    assert summary(frame, "macs")["model"].tolist() == ["unified_dw_conv_nano"]
    assert "container_identity_nano can take, got 28x28" in report.failures[0]
    assert report.failures[0].endswith("use --resolution 32 or more, the network's limit")
    assert "timm:test_vit can take, got 28x28 (" in report.failures[1]


@pytest.mark.parametrize(
    "change",
    [
        {"models": ()},
        {"models": ("a", "a")},
        {"batch_size": 0},
        {"threads": 0},
        {"target_width": 0},
        {"time_budget": 0},
    ],
    ids=str,
)
def test_a_config_checks_itself(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"expected .*, got "):
        profile(tmp_path, **change)
