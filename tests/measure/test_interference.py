from __future__ import annotations

import os

import pytest

from stmbench.measure.interference import Snapshot, disturbances, take_snapshot

TICKS = os.sysconf("SC_CLK_TCK")


def stat(*, user: float = 0, idle: float = 0, steal: float = 0, cores: int = 2) -> str:
    """/proc/stat with these seconds."""
    fields = [int(seconds * TICKS) for seconds in (user, 0, 0, idle, 0, 0, 0, steal)]
    return "\n".join([f"cpu  {' '.join(map(str, fields))} 0 0", *(f"cpu{i} 0" for i in range(cores)), "intr 1"])


def snapshot(files: dict[str, str], *, wall: float, own: float) -> Snapshot:
    return take_snapshot(files.get, wall=wall, own=own)


CASES = [
    ("nothing else", stat(user=10), 10.0, []),
    ("a little else", stat(user=10.5), 10.0, []),
    ("foreign load", stat(user=20), 10.0, ["other processes kept about 1 of 2 cores busy"]),
    ("steal", stat(user=10, steal=2), 10.0, ["the hypervisor took about 10 % of the processor time (steal)"]),
]


@pytest.mark.parametrize(("text", "own", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_disturbed_ten_seconds_on_two_cores(text: str, own: float, words: list[str]) -> None:
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


def test_a_system_without_proc_says_nothing() -> None:
    assert disturbances(snapshot({}, wall=0, own=0), snapshot({}, wall=5, own=1)) == []


def test_this_machine_can_be_read() -> None:
    now = take_snapshot()
    assert now.cores >= 1
    assert now.own > 0
