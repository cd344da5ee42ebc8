"""What disturbed a measurement on the processor: steal time, other processes, throttling, a drop of the clock.

A snapshot is taken before and after, and the difference is described in words.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

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
