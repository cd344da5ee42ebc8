"""Energy of a GPU through NVML: joules per image where the driver tells, None where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from stmbench.measure.clock import Timer
from stmbench.measure.nvml import nvml_of


class EnergyCounter(Protocol):
    """Joules spent since some fixed moment."""

    def joules(self) -> float:
        """Never falls."""
        ...

    def tick(self, seconds: float) -> None:
        """Told after every run how long it took; counters that integrate power sample it here."""
        ...


class TotalEnergy:
    """The driver's own counter (Volta and later), in millijoules; it moves every 20 to 100 ms."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def joules(self) -> float:
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) * 1e-3

    def tick(self, seconds: float) -> None:
        return None


class IntegratedPower:
    """Power (milliwatts) times time, for devices without a counter."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle, self._sum = nvml, handle, 0.0

    def joules(self) -> float:
        return self._sum

    def tick(self, seconds: float) -> None:
        self._sum += float(self._nvml.nvmlDeviceGetPowerUsage(self._handle)) * 1e-3 * seconds


def counter_for(device: str | torch.device, nvml: Any = None) -> EnergyCounter | None:
    """The counter of a CUDA device; None for other devices, without pynvml, or where the driver refuses.

    Args:
        nvml: the pynvml module; imported where it is not given.
    """
    device_nvml = nvml_of(device, nvml)
    if device_nvml is None:
        return None
    library, handle = device_nvml.library, device_nvml.handle
    if device_nvml.ask("GetTotalEnergyConsumption", of=handle) is not None:
        return TotalEnergy(library, handle)
    if device_nvml.ask("GetPowerUsage", of=handle) is not None:
        return IntegratedPower(library, handle)
    return None


def joules_per_image(
    run: Callable[[], object], images: int, counter: EnergyCounter, timer: Timer, *, seconds: float = 2.0
) -> float:
    """Run for at least `seconds`, so that the counter moves often, and share the joules among the images.

    Args:
        run: one batch.
        images: images of one batch.
        seconds: of device time, at least.
    """
    timer.synchronize()
    start, runs, spent = counter.joules(), 0, 0.0
    while spent < seconds:
        took = timer.time(run)
        counter.tick(took)
        spent += took
        runs += 1
    timer.synchronize()
    return (counter.joules() - start) / (runs * images)
