"""Models and images given as objects, through the analyses from end to end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from stmbench.analyses.eval.evaluation import Evaluation
from stmbench.analyses.images import ImageRequest
from stmbench.analyses.invariance.analysis import Invariance
from stmbench.analyses.invariance.definitions import InvarianceConfig
from stmbench.analyses.profile.costs import peak_of
from stmbench.analyses.profile.timing_harness import TimingHarness
from stmbench.analyses.robustness.analysis import Robustness
from stmbench.analyses.robustness.attacks import RobustnessConfig
from stmbench.architectures.given_models import model_name_of
from stmbench.data.given_images import data_name_of
from stmbench.measure.memory import MemorySpec
from stmbench.tables import Store
from tests.analyses.profiles import memory, profile
from tests.architectures.given_networks import InOutput, Plain
from tests.measure.fake_clock import ScriptedTimer

__all__ = ["memory"]
PIXELS = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def named(**options: Any) -> str:
    torch.manual_seed(0)
    return model_name_of(InOutput(), input_size=32, **options)


def request(name: str, labels: list[int] | None = None) -> ImageRequest:
    return ImageRequest(models=(name,), dataset=data_name_of(PIXELS, labels=labels), batch_size=4)


def predictions() -> list[int]:
    """The network's own answers, without any of stmbench."""
    torch.manual_seed(0)
    module = InOutput().eval()
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    pixels = (PIXELS * 255).round() / 255
    return [int(label) for label in Plain.forward(module, (pixels - mean) / std).argmax(1)]


def test_accuracy_is_that_of_the_module_itself(tmp_path: Path) -> None:
    right = predictions()
    labels = [*right[:4], *((label + 1) % 10 for label in right[4:])]
    analysis = Evaluation(request(named(), labels), Store(tmp_path))
    report = analysis.run()
    assert report.failures == []
    frame = Store(tmp_path).read(report.keys)
    accuracy = frame[(frame["metric"] == "accuracy") & frame["value"].notna()]
    assert accuracy["value"].item() == pytest.approx(4 / 6)
    assert frame["weights"].str.startswith("given:").all()


def test_attacks_and_perturbations_run(tmp_path: Path) -> None:
    name, labels = named(), predictions()
    robustness = Robustness(RobustnessConfig(attacks=("fgsm",), eps=(8 / 255,)), request(name, labels), Store(tmp_path))
    assert robustness.run().failures == []
    invariance = Invariance(InvarianceConfig(kind="translation", levels=(0, 4)), request(name, labels), Store(tmp_path))
    report = invariance.run()
    assert report.failures == []
    assert set(Store(tmp_path).read(report.keys)["model"].dropna()) == {name}


def test_a_profile_of_a_module(tmp_path: Path, memory: list[MemorySpec]) -> None:
    name = named()
    analysis = profile(tmp_path, models=(name, "unified_dw_conv_nano"), resolutions=((32, 32),), runs=True)
    report = analysis.run()
    assert report.failures == []
    frame = Store(tmp_path).read(report.keys)
    rows = frame[(frame["model"] == name) & frame["value"].notna()]
    assert {"params", "macs", "peak_memory", "throughput", "latency"} <= set(rows["metric"])
    assert rows[rows["metric"] == "params"]["value"].item() == sum(p.numel() for p in InOutput().parameters())
    assert set(rows["weights"]) == {rows["weights"].iloc[0]} != {"random:0"}
    (spec,) = (spec for spec in memory if spec.arguments["spec"]["model"] == name)
    assert not Path(spec.arguments["given"]).exists(), "the file is gone when the child is"


@pytest.mark.parametrize("home", ["tests.architectures.given_networks", "__main__"])
def test_memory_of_a_module_that_travels_and_of_one_that_cannot(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InOutput, "__module__", home)
    monkeypatch.setattr(sys.modules["__main__"], "InOutput", InOutput, raising=False)
    name = named()
    config = profile(tmp_path, models=(name,)).config
    bench = TimingHarness(config, next(iter(config.settings((32, 32)))), ScriptedTimer([1.0]))
    reading = peak_of(bench, (name, None), 16, threads=1)
    assert reading.method.endswith("the process that measured" if home == "__main__" else "a child process")
    assert 0 <= reading.bytes < 64 * 2**20, "a small network and sixteen small images"
    assert home == "__main__" or reading.bytes > 16 * 3 * 32 * 32 * 4, "its input at least"
