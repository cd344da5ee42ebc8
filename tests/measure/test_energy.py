from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from stmbench.measure.energy import IntegratedPower, TotalEnergy, energy_counter_for, joules_per_image
from tests.measure.fake_clock import ScriptedTimer


class FakeNvml:
    """100 W from a driver whose counter is in mJ and whose power is in mW."""

    def __init__(self, timer: ScriptedTimer, *, counts: bool = True) -> None:
        self.timer, self.counts, self.uuid = timer, counts, ""

    def nvmlInit(self) -> None:  # noqa: N802
        return None

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        self.uuid = uuid
        return "handle"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        if not self.counts:
            raise RuntimeError("Not Supported")
        return int(1000 * 100 * self.timer.now)

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:  # noqa: N802
        return 100_000


@pytest.mark.parametrize(("counts", "kind"), [(True, TotalEnergy), (False, IntegratedPower)])
def test_energy_is_divided_by_images(monkeypatch: pytest.MonkeyPatch, counts: bool, kind: type) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="abc"))
    timer = ScriptedTimer([0.5])
    nvml = FakeNvml(timer, counts=counts)
    counter = energy_counter_for("cuda:0", nvml)
    assert isinstance(counter, kind)
    assert nvml.uuid == "GPU-abc"
    # 4 runs of 0.5 s at 100 W: 50 J a run, 8 images a run
    assert joules_per_image(lambda: None, 8, counter, timer, seconds=2.0) == pytest.approx(6.25)
    assert timer.now == 2.0


def test_without_an_energy_counter_there_is_none() -> None:
    assert energy_counter_for("cpu") is None
    assert energy_counter_for("cuda:0", SimpleNamespace()) is None, "a driver that refuses"
