"""Live comparisons with fake workers and a clock that only they move."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stmbench.analyses.base import Progress
from stmbench.comparison.live import Live
from stmbench.comparison.sampling import LAYOUTS, LiveConfig
from stmbench.errors import ConfigError, InputError, UnknownNameError
from stmbench.tables.comparison_result import Comparison, Finding
from tests.comparison.workers import BASE, HEAD, World

A, B = "unified_dw_conv_nano", "unified_halo_attn_nano"


def live(world: World, *models: str, **options: Any) -> Live:
    config = LiveConfig(models=models or (A,), **{"seconds": 30.0, **options})
    return Live(BASE, HEAD, config, start=world.start, clock=world.clock)


def run(world: World, *models: str, **options: Any) -> Comparison:
    comparison = live(world, *models, **options).run()
    assert world.running == []
    return comparison


def by_model(comparison: Comparison) -> dict[str, Finding]:
    return {item.model: item for item in comparison.findings if item.metric == "time per image"}


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, "same"), (1.01, "same"), (1.05, "worse"), (1.5, "worse"), (0.9, "better")]
)
def test_a_verdict_comes_as_soon_as_it_is_clear(factor: float, verdict: str) -> None:
    world = World(seconds={("head", A): 0.05 * factor})
    comparison = run(world)
    finding = by_model(comparison)[A]
    assert finding.verdict == verdict
    assert finding.effect == pytest.approx(factor, rel=0.01)
    assert finding.base == pytest.approx(0.05 / 4, rel=0.01)
    assert finding.conditions == "batch 4, fp32, cpu, 1 thread, 32 px, processor time"
    assert finding.seconds is not None
    assert finding.seconds < 25  # of 30
    assert comparison.changes == {"code": [], "environment": [], "machine": []}


def test_sampling_ends_with_its_time_where_nothing_is_clear() -> None:
    world = World(noise=1.0)
    comparison = live(world)
    finding = by_model(comparison.run())[A]
    assert finding.verdict == "inconclusive"
    assert finding.seconds == pytest.approx(30, abs=2)
    assert len(comparison.samples[0, A].layouts) == LAYOUTS
    assert world.log.count(("base", "load")) == LAYOUTS  # memory is laid out anew
    assert finding.detectable is not None
    assert finding.detectable > 0.05


def test_rounds_alternate_in_random_order_and_hold_both_sides() -> None:
    world = World(noise=0.5)
    comparison = live(world, seconds=10)
    comparison.run()
    rounds = comparison.samples[0, A].rounds
    first = [round_.first for round_ in rounds]
    assert 0.3 < first.count("base") / len(first) < 0.7
    runs = [side for side, do in world.log if do == "run"]
    assert runs.count("base") == runs.count("head")


def test_both_sides_of_a_round_run_on_one_core_which_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 7}, raising=False)
    world = World(noise=0.5)
    run(world, seconds=10)
    pinned = [core for core in world.cores if core is not None]  # those of the warm-up are not
    assert pinned[::2] == pinned[1::2]
    assert 0.3 < pinned.count(3) / len(pinned) < 0.7
    assert set(pinned) == {3, 7}
    world = World(noise=0.5)
    run(world, seconds=10, threads=2)
    assert set(world.cores) == {None}


def test_rounds_with_a_disturbed_probe_are_dropped_and_counted() -> None:
    finding = by_model(run(World(bursts=0.05, noise=0.05)))[A]
    assert finding.dropped is not None
    assert finding.rounds is not None
    assert 0.05 < finding.dropped / (finding.rounds + finding.dropped) < 0.25
    assert finding.verdict == "same"


@pytest.mark.parametrize(
    ("kind", "do", "side", "failed", "code"),
    [("refuses", "load", "head", "at head: ValueError", 1), ("refuses", "load", "base", "at base: ValueError", 0),
     ("dies", "load", "head", "at head: the worker was killed", 1), ("dies", "run", "base", "at base: the worker", 0)],
)  # fmt: skip
def test_a_model_that_fails_is_named_and_the_others_go_on(
    kind: str, do: str, side: str, failed: str, code: int
) -> None:
    world = World(**{kind: {(side, do, A)}})  # type: ignore[arg-type]
    comparison = run(world, A, B)
    findings = by_model(comparison)
    assert findings[A].verdict == "failed"
    assert (findings[A].reason or "").startswith(failed)
    assert findings[B].verdict == "same"
    assert comparison.exit_code(strict=False) == code
    assert world.started[side] == (2 if kind == "dies" else 1)


def test_where_no_model_runs_it_is_bad_input() -> None:
    world = World(refuses={(side, "load", model) for side in ("base", "head") for model in (A, B)})
    with pytest.raises(InputError, match=f"expected a model that runs, got at base and head: ValueError: no {A}"):
        run(world, A, B)
    assert world.running == []


def test_a_side_that_does_not_start_is_bad_input() -> None:
    world = World(refuses={("head", "hello", "")})
    with pytest.raises(InputError, match=r"expected head \(head\) to start"):
        run(world)
    assert world.running == []


def test_an_interrupt_ends_both_workers() -> None:
    world = World(interrupt_after=3)
    with pytest.raises(KeyboardInterrupt):
        live(world).run()
    assert world.running == []


def test_parameters_that_changed_and_sizes_that_differ_are_said() -> None:
    comparison = run(World(params={"base": 1000, "head": 1100}))
    (params,) = [item for item in comparison.findings if item.metric == "params"]
    assert (params.verdict, params.effect) == ("worse", pytest.approx(1.1))
    finding = by_model(run(World(resolution={"head": [64, 64]})))[A]
    assert finding.reason == "designed for 32x32 against 64x64 px: give --resolution"


@pytest.mark.parametrize(("again", "verdict", "confirmed"), [(1.2, "worse", True), (1.0, "inconclusive", False)])
def test_suspects_are_measured_again_in_fresh_processes(again: float, verdict: str, confirmed: bool) -> None:
    world = World(seconds={("head", A): 0.06})
    comparison = live(world, A, B, confirm=True)
    start = world.start

    def restart(side: Any) -> Any:
        if world.started.get("head"):
            world.seconds["head", A] = 0.05 * again
        return start(side)

    comparison._start = restart
    findings = by_model(comparison.run())
    assert (findings[A].verdict, findings[A].confirmed) == (verdict, confirmed)
    assert (findings[B].verdict, findings[B].confirmed) == ("same", None)
    assert world.started == {"base": 2, "head": 2}
    assert set(comparison.samples) == {(0, A), (0, B), (1, A)}
    if not confirmed:
        assert "1.2" in (findings[A].reason or "")
        assert "when measured again" in (findings[A].reason or "")


def test_without_suspects_nothing_is_measured_again() -> None:
    world = World()
    run(world, confirm=True)
    assert world.started == {"base": 1, "head": 1}


def test_a_head_that_waits_is_said_beside_processor_time() -> None:
    world = World(waits={"head": 0.5})
    comparison = run(world)
    assert by_model(comparison)[A].verdict == "same"
    assert any("by the wall clock head takes a further 1.50 times as long" in note for note in comparison.notes)
    finding = by_model(run(World(waits={"head": 0.5}), clock="wall"))[A]
    assert (finding.verdict, finding.effect) == ("worse", pytest.approx(1.5, rel=0.01))
    assert finding.conditions.endswith("wall time")


def test_a_planted_slowdown_is_found_and_told() -> None:
    comparison = run(World(), plant=0.1)
    assert by_model(comparison)[A].effect == pytest.approx(1.1, rel=0.01)
    assert comparison.exit_code(strict=False) == 1
    assert comparison.notes[0] == "head was slowed down by 10.0% on purpose (--plant)"


def test_progress_says_which_model_and_at_most_how_long() -> None:
    world, told = World(), list[Progress]()
    config = LiveConfig(models=(A, B), seconds=30)
    Live(BASE, HEAD, config, start=world.start, clock=world.clock, listener=told.append).run()
    assert {item.text.partition(", round")[0] for item in told} == {f"sampling {A}", f"sampling {B}"}
    left = [item.seconds_left or math.nan for item in told]
    assert left[0] == 60
    assert left == sorted(left, reverse=True)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"models": ()}, "expected at least one model"),
        ({"models": (A, B, A)}, "expected each model once"),
        ({"batch_size": 0}, "expected a batch size"),
        ({"threads": 0}, "expected at least 1 thread"),
        ({"seconds": 0.0}, "expected a time limit above 0 s"),
        ({"margin": 0.0}, "expected a margin above 0"),
        ({"plant": -0.1}, "expected a planted slowdown"),
        ({"device": "cuda", "clock": "processor"}, "expected the wall clock on a device"),
    ],
)
def test_a_config_makes_sense(options: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        LiveConfig(**{"models": (A,), **options})


@pytest.mark.parametrize(
    ("seconds", "layouts", "looks"),
    [(60, 12, {2, 4, 8, 12}), (24, 12, {2, 4, 8, 12}), (6, 3, {1, 2, 3}), (0.5, 1, {1})],
)
def test_layouts_and_looks(seconds: float, layouts: int, looks: set[int]) -> None:
    config = LiveConfig(models=(A,), seconds=seconds)
    assert (config.layouts, config.looks) == (layouts, looks)


def test_clocks() -> None:
    with pytest.raises(UnknownNameError, match="expected a clock, got 'sun'"):
        LiveConfig(models=(A,), clock="sun")
    assert LiveConfig(models=(A,)).chosen_clock == "processor"
    assert LiveConfig(models=(A,), threads=2).chosen_clock == "wall"
    assert LiveConfig(models=(A,), device="cuda").chosen_clock == "wall"
    assert LiveConfig(models=(A,), threads=2, clock="processor").chosen_clock == "processor"
