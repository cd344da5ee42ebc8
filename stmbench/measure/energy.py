"""Energy of a GPU in joules per image, measured through NVML."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from stmbench.measure.clock import Timer
from stmbench.measure.nvml import nvml_device


class EnergyCounter(Protocol):
    """Joules consumed since some fixed moment."""

    def joules(self) -> float:
        """The total so far; it never decreases."""
        ...

    def tick(self, seconds: float) -> None:
        """Called after every run with its duration; counters that integrate power sample it here."""
        ...


class TotalEnergy:
    """The driver's own counter (Volta and later), in millijoules; it is updated every 20 to 100 ms."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def joules(self) -> float:
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) * 1e-3

    def tick(self, seconds: float) -> None:
        return None


class IntegratedPower:
    """Power (in milliwatts) integrated over time, for devices without a counter."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle, self._sum = nvml, handle, 0.0

    def joules(self) -> float:
        return self._sum

    def tick(self, seconds: float) -> None:
        self._sum += float(self._nvml.nvmlDeviceGetPowerUsage(self._handle)) * 1e-3 * seconds


def energy_counter_for(device: str | torch.device, nvml: Any = None) -> EnergyCounter | None:
    """The counter of a CUDA device; None for other devices, without pynvml, or if the driver refuses.

    Args:
        nvml: the pynvml module; imported if it is None.
    """
    gpu = nvml_device(device, nvml)
    if gpu is None:
        return None
    library, handle = gpu.library, gpu.handle
    if gpu.query("GetTotalEnergyConsumption", handle=handle) is not None:
        return TotalEnergy(library, handle)
    if gpu.query("GetPowerUsage", handle=handle) is not None:
        return IntegratedPower(library, handle)
    return None


def joules_per_image(
    run: Callable[[], object], images: int, counter: EnergyCounter, timer: Timer, *, seconds: float = 2.0
) -> float:
    """Run for at least `seconds`, so that the counter is updated often, and divide the joules by the images.

    Args:
        run: runs one batch.
        images: number of images in a batch.
        seconds: minimum device time.
    """
    timer.synchronize()
    start, runs, spent = counter.joules(), 0, 0.0
    while spent < seconds:
        elapsed = timer.time(run)
        counter.tick(elapsed)
        spent += elapsed
        runs += 1
    timer.synchronize()
    return (counter.joules() - start) / (runs * images)
