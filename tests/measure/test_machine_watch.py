from __future__ import annotations

import os
import types
from typing import Any

import pytest
import torch

from stmbench.measure.machine_watch import MachineWatch, Snapshot, disturbances, gpu_watch_for, take_snapshot
from stmbench.measure.nvml import nvml_device
from tests.measure.fake_nvml import FakeNvml


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: types.SimpleNamespace(uuid="abc"))


def said(nvml: FakeNvml, *, looks: int = 10, own: int = 1) -> list[str]:
    watch = gpu_watch_for("cuda:0", own=own, library=nvml)
    assert watch is not None
    watch.begin()
    for _ in range(looks):
        watch.sample()
    return [item.text for item in watch.disturbances()]


CASES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("nothing", {}, []),
    ("idle and chosen clocks are no fault", {"reasons": [0x1 | 0x2]}, []),
    ("a little slower", {"clocks": [1980, 1800]}, []),
    ("slower", {"clocks": [1980, 1980, 1380]}, ["the GPU's clock fell by about 30 %"]),
    ("power", {"reasons": [0x4]}, ["the GPU slowed down at its power limit, all of the time"]),
    ("brake", {"reasons": [0x80] * 5 + [0]}, ["the GPU slowed down at its power limit, about 50 % of the time"]),
    ("heat", {"reasons": [0x20, 0x40, 0]}, ["the GPU slowed down because of heat, about 20 % of the time"]),
    ("an older library", {"old": True, "reasons": [0x8]}, ["the GPU slowed down because of heat, all of the time"]),
    ("a limit", {"limit": 400_000}, ["the GPU's power limit is 400 W, and 700 W by default"]),
    ("company", {"processes": 2}, ["another process was on the GPU"]),
    ("more company", {"processes": 4}, ["3 other processes were on the GPU"]),
    ("MIG", {"mig": (1, 1)}, ["the GPU is divided (MIG), and its other instances share clock and power"]),
    ("a driver that tells nothing", {"reasons": None, "processes": None, "limit": None, "mig": None}, []),
]


@pytest.mark.parametrize(("state", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_gpu_disturbances_of_ten_samples(state: dict[str, Any], words: list[str]) -> None:
    assert said(FakeNvml(**state)) == words


def test_own_processes_are_not_reported() -> None:
    assert said(FakeNvml(processes=2), own=2) == []
    assert said(FakeNvml(processes=3), own=2) == ["another process was on the GPU"]


def test_without_samples_nothing_is_reported() -> None:
    assert said(FakeNvml(processes=9, limit=1, reasons=[0x4]), looks=0) == []


def test_begin_resets_samples() -> None:
    watch = gpu_watch_for("cuda:0", library=FakeNvml(clocks=[600, 1980], reasons=[0x4, 0]))
    assert watch is not None
    watch.sample()
    watch.begin()
    watch.sample()
    assert watch.disturbances() == []
    facts = {"samples": 1, "sm_clock_mhz": [1980, 1980, 1980], "power_limit_w": 700.0, "default_power_limit_w": 700.0}
    assert watch.facts == {**facts, "mig": False}


def test_mig_slice_is_queried_for_processes_and_its_gpu_for_the_rest() -> None:
    nvml = FakeNvml(uuids=("MIG-abc",))
    assert said(nvml, looks=1) == ["the GPU is divided (MIG), and its other instances share clock and power"]
    asked = dict(nvml.asked)
    assert asked["nvmlDeviceGetComputeRunningProcesses"] == "MIG-abc"
    assert asked["nvmlDeviceGetClockInfo"] == asked["nvmlDeviceGetEnforcedPowerLimit"] == "whole"


def test_without_a_device_or_a_library_there_is_no_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert nvml_device("cpu", FakeNvml()) is None
    assert nvml_device("cuda:0", FakeNvml(uuids=())) is None
    assert nvml_device("cuda:0", types.SimpleNamespace()) is None
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    assert gpu_watch_for("cuda:0") is None
    (line,) = MachineWatch("cuda:0").caveats
    assert line.endswith("NVML is not available (pip install 'stmbench[gpu]')")
    assert MachineWatch("cpu").caveats == []


def test_processor_and_gpu_are_watched_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", FakeNvml(processes=2))
    watch = MachineWatch("cuda:0")
    watch.begin()
    watch.sample()
    assert [item.kind for item in watch.end() if item.kind.startswith("GPU")] == ["GPU processes"]
    assert watch.facts["gpu"]["samples"] == 1
    assert watch.caveats == []


TICKS = os.sysconf("SC_CLK_TCK")


def stat(*, user: float = 0, idle: float = 0, steal: float = 0, cores: int = 2) -> str:
    """/proc/stat with these seconds."""
    fields = [int(seconds * TICKS) for seconds in (user, 0, 0, idle, 0, 0, 0, steal)]
    return "\n".join([f"cpu  {' '.join(map(str, fields))} 0 0", *(f"cpu{i} 0" for i in range(cores)), "intr 1"])


def snapshot(files: dict[str, str], *, wall: float, own: float) -> Snapshot:
    return take_snapshot(files.get, wall=wall, own=own)


CPU = [
    ("nothing else", stat(user=10), 10.0, []),
    ("a little else", stat(user=10.5), 10.0, []),
    ("foreign load", stat(user=20), 10.0, ["other processes kept about 1 of 2 cores busy"]),
    ("steal", stat(user=10, steal=2), 10.0, ["the hypervisor took about 10 % of the processor time (steal)"]),
]


@pytest.mark.parametrize(("text", "own", "words"), [case[1:] for case in CPU], ids=[case[0] for case in CPU])
def test_cpu_disturbances_of_ten_seconds(text: str, own: float, words: list[str]) -> None:
    before = snapshot({"/proc/stat": stat()}, wall=0.0, own=0.0)
    after = snapshot({"/proc/stat": text}, wall=10.0, own=own)
    assert [item.text for item in disturbances(before, after)] == words


def test_heat_and_a_falling_clock() -> None:
    def state(throttles: int | None, megahertz: float | None) -> Snapshot:
        return Snapshot(wall=0, own=0, cores=2, busy=None, steal=None, throttles=throttles, megahertz=megahertz)

    words = [item.text for item in disturbances(state(3, 3000.0), state(5, 2400.0))]
    assert words == ["the processor slowed down because of heat", "the processor's clock fell by about 20 %"]
    assert disturbances(state(3, 3000.0), state(3, 2900.0)) == []
    assert disturbances(state(None, None), state(None, None)) == []


def test_without_proc_nothing_is_reported() -> None:
    assert disturbances(snapshot({}, wall=0, own=0), snapshot({}, wall=5, own=1)) == []


def test_proc_of_this_machine_is_readable() -> None:
    now = take_snapshot()
    assert now.cores >= 1
    assert now.own > 0
