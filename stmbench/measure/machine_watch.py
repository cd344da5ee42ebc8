"""What disturbed a measurement: steal time, other processes, throttling, a drop of the clock; `MachineWatch` has all.

Of the processor a snapshot is taken before and after, and the difference is described in words. The GPU's driver is
asked for clock, throttle reasons and other processes right after timed work, by the process that does the timing: a
separate thread would get in the way, and an idle GPU says nothing about a busy one.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from stmbench.errors import install
from stmbench.measure.nvml import Nvml, nvml_device

Read = Callable[[str], str | None]

STEAL_FRACTION = 0.01  # of all cores' time
FOREIGN_FRACTION = 0.05
FREQUENCY_DROP = 0.10


def read_file(path: str) -> str | None:
    """The content of a small text file; None if it cannot be read."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Processor seconds since boot (None if the system does not report them), and the state of the clocks."""

    wall: float
    own: float  # of this process and its ended children
    cores: int
    busy: float | None
    steal: float | None
    throttles: int | None
    megahertz: float | None


def take_snapshot(read: Read = read_file, *, wall: float | None = None, own: float | None = None) -> Snapshot:
    """The current state of the machine. `read`, `wall` and `own` replace the system in tests."""
    busy = steal = None
    cores = os.cpu_count() or 1
    stat = read("/proc/stat")
    if stat:
        ticks = float(os.sysconf("SC_CLK_TCK"))
        lines = stat.splitlines()
        user, nice, system, _idle, _wait, irq, softirq, stolen = (int(x) / ticks for x in lines[0].split()[1:9])
        busy, steal = user + nice + system + irq + softirq, stolen
        cores = sum(line.startswith("cpu") for line in lines) - 1
    if own is None:
        times = os.times()
        own = times.user + times.system + times.children_user + times.children_system
    return Snapshot(
        wall=time.monotonic() if wall is None else wall,
        own=own,
        cores=cores,
        busy=busy,
        steal=steal,
        throttles=_throttles(read),
        megahertz=_megahertz(read),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Disturbance:
    """One thing that disturbed the samples: its kind, its amount, and a description."""

    kind: str
    amount: float
    text: str


def disturbances(before: Snapshot, after: Snapshot) -> list[Disturbance]:
    """What disturbed the samples between the snapshots; empty if nothing did.

    The descriptions contain rounded numbers, so that the parts of a run fraction a few of them.
    """
    disturbed: list[Disturbance] = []
    available = max(after.wall - before.wall, 1e-9) * after.cores
    if before.steal is not None and after.steal is not None:
        fraction = (after.steal - before.steal) / available
        if fraction > STEAL_FRACTION:
            text = f"the hypervisor took about {max(1, round(100 * fraction))} % of the processor time (steal)"
            disturbed.append(Disturbance(kind="steal", amount=fraction, text=text))
    if before.busy is not None and after.busy is not None:
        foreign = (after.busy - before.busy) - (after.own - before.own)
        fraction = foreign / available
        if fraction > FOREIGN_FRACTION:
            cores = max(0.5, round(2 * fraction * after.cores) / 2)
            text = f"other processes kept about {cores:g} of {after.cores} cores busy"
            disturbed.append(Disturbance(kind="foreign load", amount=fraction, text=text))
    if before.throttles is not None and after.throttles is not None and after.throttles > before.throttles:
        amount = float(after.throttles - before.throttles)
        disturbed.append(Disturbance(kind="heat", amount=amount, text="the processor slowed down because of heat"))
    if before.megahertz and after.megahertz:
        drop = 1 - after.megahertz / before.megahertz
        if drop > FREQUENCY_DROP:
            text = f"the processor's clock fell by about {round(10 * drop) * 10} %"
            disturbed.append(Disturbance(kind="clock", amount=drop, text=text))
    return disturbed


def external_load(disturbances: Iterable[Mapping[str, Any]]) -> float:
    """The fraction of the processor taken by the hypervisor and other processes, from disturbances as mappings."""
    return sum(float(item["amount"]) for item in disturbances if item["kind"] in ("steal", "foreign load"))


def _throttles(read: Read) -> int | None:
    return _total(read, "/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count")


def _megahertz(read: Read) -> float | None:
    total = _total(read, "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
    return None if total is None else total / 1000


def _total(read: Read, pattern: str) -> int | None:
    texts = [read(path) for path in sorted(glob.glob(pattern)) or [pattern]]
    numbers = [int(text) for text in texts if text and text.strip().isdigit()]
    return sum(numbers) if numbers else None


SM_CLOCK = 1  # nvml.h: NVML_CLOCK_SM
POWER, HEAT = 0x04 | 0x80, 0x08 | 0x20 | 0x40  # nvml.h: software power cap, power brake; thermal slowdowns
MIN_FRACTION = 0.05  # of the samples; a slowdown in fewer of them is only momentary


class MachineWatch:
    """Watches the processor and the GPU: `begin`, timed work with a `sample` after each piece of it, `end`.

    Args:
        device: the device that does the work.
        own: how many processes of this run use the device.
    """

    def __init__(self, device: str | torch.device, *, own: int = 1) -> None:
        self._is_cuda = torch.device(device).type == "cuda"
        self._gpu = gpu_watch_for(device, own=own)
        self.begin()

    def begin(self) -> None:
        """Start watching, and forget what was seen before."""
        self._before = take_snapshot()
        if self._gpu is not None:
            self._gpu.begin()

    def sample(self) -> None:
        """Record the state of the GPU; to be called right after timed work."""
        if self._gpu is not None:
            self._gpu.sample()

    def end(self) -> list[Disturbance]:
        """The disturbances since `begin`."""
        gpu = [] if self._gpu is None else self._gpu.disturbances()
        return [*disturbances(self._before, take_snapshot()), *gpu]

    @property
    def facts(self) -> dict[str, Any]:
        """For the metadata: `gpu`, if one is watched."""
        return {} if self._gpu is None else {"gpu": self._gpu.facts}

    @property
    def caveats(self) -> list[str]:
        """What a reader has to know if a GPU does the work and cannot be watched."""
        if not self._is_cuda or self._gpu is not None:
            return []
        what = "the GPU's clock, limits and other processes were not watched, and its energy was not measured"
        return [f"{what}: NVML is not available ({install('gpu')})"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GpuSample:
    """The state of the device at one moment; None for what the driver does not report."""

    megahertz: int | None
    reasons: int | None  # bits: why the clock is not higher
    processes: int | None


class GpuWatch:
    """Samples one GPU between `begin` and `disturbances`.

    Args:
        own: how many processes of this run use the device.
    """

    def __init__(self, device: Nvml, *, own: int = 1) -> None:
        self._device, self._own = device, own
        self._samples: list[GpuSample] = []

    def begin(self) -> None:
        """Forget all samples."""
        self._samples = []

    def sample(self) -> None:
        """Record the state of the device, right after timed work; takes a fraction of a millisecond."""
        query = self._device.query
        reasons = query("GetCurrentClocksEventReasons")
        running = query("GetComputeRunningProcesses", handle=self._device.handle)
        self._samples.append(
            GpuSample(
                megahertz=query("GetClockInfo", SM_CLOCK),
                reasons=query("GetCurrentClocksThrottleReasons") if reasons is None else reasons,
                processes=None if running is None else len(running),
            )
        )

    @property
    def facts(self) -> dict[str, Any]:
        """For the metadata: lowest, median and highest clock in MHz, power limit and its default in W, MIG or not."""
        clocks = self._clocks()
        return {
            "samples": len(self._samples),
            "sm_clock_mhz": [min(clocks), statistics.median(clocks), max(clocks)] if clocks else None,
            "power_limit_w": self._watts("GetEnforcedPowerLimit"),
            "default_power_limit_w": self._watts("GetPowerManagementDefaultLimit"),
            "mig": self._device.is_mig,
        }

    def disturbances(self) -> list[Disturbance]:
        """What disturbed the samples; empty if nothing did, or if there are no samples."""
        if not self._samples:
            return []
        return [*self._clock_drop(), *self._throttling(), *self._lowered_limit(), *self._other_users()]

    def _clock_drop(self) -> list[Disturbance]:
        clocks = self._clocks()
        highest = max(clocks, default=0)
        drop = 1 - min(clocks) / highest if highest else 0.0
        if drop <= FREQUENCY_DROP:
            return []
        text = f"the GPU's clock fell by about {round(10 * drop) * 10} %"
        return [Disturbance(kind="GPU clock", amount=drop, text=text)]

    def _throttling(self) -> list[Disturbance]:
        listed = []
        known = [sample.reasons for sample in self._samples if sample.reasons is not None]
        for kind, bits, words in (("GPU heat", HEAT, "because of heat"), ("GPU power", POWER, "at its power limit")):
            fraction = sum(bool(reasons & bits) for reasons in known) / max(1, len(known))
            if fraction > MIN_FRACTION:
                about = "all" if fraction > 0.95 else f"about {max(10, round(10 * fraction) * 10)} %"
                text = f"the GPU slowed down {words}, {about} of the time"
                listed.append(Disturbance(kind=kind, amount=fraction, text=text))
        return listed

    def _lowered_limit(self) -> list[Disturbance]:
        limit, default = self._watts("GetEnforcedPowerLimit"), self._watts("GetPowerManagementDefaultLimit")
        if limit is None or default is None or limit >= default:
            return []
        text = f"the GPU's power limit is {limit:.0f} W, and {default:.0f} W by default"
        return [Disturbance(kind="GPU power limit", amount=1 - limit / default, text=text)]

    def _other_users(self) -> list[Disturbance]:
        listed = []
        # by number: within a container the driver's process ids differ from ours
        others = max((sample.processes or 0) - self._own for sample in self._samples)
        if others > 0:
            processes = "another process was" if others == 1 else f"{others} other processes were"
            text = f"{processes} on the GPU"
            listed.append(Disturbance(kind="GPU processes", amount=float(others), text=text))
        if self._device.is_mig:
            text = "the GPU is divided (MIG), and its other instances share clock and power"
            listed.append(Disturbance(kind="MIG", amount=1.0, text=text))
        return listed

    def _clocks(self) -> list[int]:
        return [sample.megahertz for sample in self._samples if sample.megahertz is not None]

    def _watts(self, question: str) -> float | None:
        milliwatts = self._device.query(question)
        return None if milliwatts is None else milliwatts / 1000


def gpu_watch_for(device: str | torch.device, *, own: int = 1, library: Any = None) -> GpuWatch | None:
    """The watch of a CUDA device; None for other devices and if NVML is not available."""
    nvml = nvml_device(device, library)
    return None if nvml is None else GpuWatch(nvml, own=own)
