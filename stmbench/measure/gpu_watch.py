"""What disturbed a measurement on a GPU, as `interference` tells it of the processor: clock, limits, company.

The driver is asked right after timed work, by the process that times: a thread of its own would be in the way, and a
GPU that idles says nothing about the one that worked.
"""

from __future__ import annotations

import dataclasses
import statistics
from typing import Any

import torch

from stmbench.measure.interference import FREQUENCY_DROP, Disturbance
from stmbench.measure.nvml import Nvml, nvml_of

SM_CLOCK = 1  # nvml.h: NVML_CLOCK_SM
POWER, HEAT = 0x04 | 0x80, 0x08 | 0x20 | 0x40  # nvml.h: software power cap, power brake; slowdowns
LOOK_SHARE = 0.05  # of the looks: fewer are an instant


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """The device at one moment; None where the driver does not tell."""

    megahertz: int | None
    reasons: int | None  # why the clock is not higher, as bits
    processes: int | None


class GpuWatch:
    """Looks at one device between `begin` and `disturbances`.

    Args:
        own: how many processes of ours are on the device.
    """

    def __init__(self, device: Nvml, *, own: int = 1) -> None:
        self._device, self._own = device, own
        self._looks: list[Look] = []

    def begin(self) -> None:
        """Forget what was seen."""
        self._looks = []

    def look(self) -> None:
        """To be called right after timed work; a fraction of a millisecond."""
        ask = self._device.ask
        reasons = ask("GetCurrentClocksEventReasons")
        running = ask("GetComputeRunningProcesses", of=self._device.handle)
        self._looks.append(
            Look(
                megahertz=ask("GetClockInfo", SM_CLOCK),
                reasons=ask("GetCurrentClocksThrottleReasons") if reasons is None else reasons,
                processes=None if running is None else len(running),
            )
        )

    @property
    def facts(self) -> dict[str, Any]:
        """For the metadata: clock in MHz over the looks, power limit and its default in W, and whether MIG is on."""
        clocks = self._clocks()
        return {
            "looks": len(self._looks),
            "sm_clock_mhz": [min(clocks), statistics.median(clocks), max(clocks)] if clocks else None,
            "power_limit_w": self._watts("GetEnforcedPowerLimit"),
            "default_power_limit_w": self._watts("GetPowerManagementDefaultLimit"),
            "mig": self._device.is_mig,
        }

    def disturbances(self) -> list[Disturbance]:
        """What speaks against the samples; empty where nothing does, and where nothing was looked at."""
        if not self._looks:
            return []
        return [*self._clock(), *self._reasons(), *self._limit(), *self._company()]

    def _clock(self) -> list[Disturbance]:
        clocks = self._clocks()
        highest = max(clocks, default=0)
        drop = 1 - min(clocks) / highest if highest else 0.0
        if drop <= FREQUENCY_DROP:
            return []
        return [_told("GPU clock", drop, f"the GPU's clock fell by about {round(10 * drop) * 10} %")]

    def _reasons(self) -> list[Disturbance]:
        found = []
        known = [look.reasons for look in self._looks if look.reasons is not None]
        for kind, bits, words in (("GPU heat", HEAT, "because of heat"), ("GPU power", POWER, "at its power limit")):
            share = sum(bool(reasons & bits) for reasons in known) / max(1, len(known))
            if share > LOOK_SHARE:
                about = "all" if share > 0.95 else f"about {max(10, round(10 * share) * 10)} %"
                found.append(_told(kind, share, f"the GPU slowed down {words}, {about} of the time"))
        return found

    def _limit(self) -> list[Disturbance]:
        limit, default = self._watts("GetEnforcedPowerLimit"), self._watts("GetPowerManagementDefaultLimit")
        if limit is None or default is None or limit >= default:
            return []
        text = f"the GPU's power limit is {limit:.0f} W, and {default:.0f} W by default"
        return [_told("GPU power limit", 1 - limit / default, text)]

    def _company(self) -> list[Disturbance]:
        found = []
        # by number: from inside a container the driver's process ids are not ours
        others = max((look.processes or 0) - self._own for look in self._looks)
        if others > 0:
            processes = "another process was" if others == 1 else f"{others} other processes were"
            found.append(_told("GPU processes", float(others), f"{processes} on the GPU"))
        if self._device.is_mig:
            found.append(_told("MIG", 1.0, "the GPU is divided (MIG), and its other instances share clock and power"))
        return found

    def _clocks(self) -> list[int]:
        return [look.megahertz for look in self._looks if look.megahertz is not None]

    def _watts(self, question: str) -> float | None:
        milliwatts = self._device.ask(question)
        return None if milliwatts is None else milliwatts / 1000


def watch_of(device: str | torch.device, *, own: int = 1, library: Any = None) -> GpuWatch | None:
    """The watch of a CUDA device; None for other devices and where NVML is not to be had."""
    found = nvml_of(device, library)
    return None if found is None else GpuWatch(found, own=own)


def _told(kind: str, amount: float, text: str) -> Disturbance:
    return Disturbance(kind=kind, amount=amount, text=text)
