from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from stmbench.analyses.base import Progress
from stmbench.analyses.profile import tasks
from stmbench.architectures.catalog import create_model
from stmbench.kernels import setting
from stmbench.measure.memory import MemorySpec
from stmbench.tables import read
from tests.analyses.profiles import MODELS, memory, profile, raw, summary

__all__ = ["memory"]
UNITS = {
    "params": "count",
    "macs": "MAC",
    "macs_published_convention": "MAC",
    "activations": "count",
    "elements_moved": "count",
    "elementwise": "count",
    "part_macs": "MAC",
    "part_params": "count",
    "part_time": "s",
    "batch_size": "count",
    "peak_memory": "bytes",
    "throughput": "images/s",
    "latency": "s",
    "latency_cold": "s",
    "throughput_ratio": "1",
    "achieved_macs_per_second": "MAC/s",
    "peak_share": "1",
    "arithmetic_intensity": "MAC/byte",
    "probe_peak": "MAC/s",
    "probe_bandwidth": "bytes/s",
    "dropped_rounds": "count",
}


@pytest.mark.usefixtures("memory")
def test_a_profile_gives_every_metric_with_its_unit(tmp_path: Path) -> None:
    profile(tmp_path, time_budget=200.0).run()
    frame = read(tmp_path)
    units = UNITS | ({"kernel_calls": "count"} if setting.are_ready() else {})
    assert dict(frame[["metric", "unit"]].drop_duplicates().itertuples(index=False)) == units
    assert set(frame["status"]) == {"ok"}
    assert set(frame["definition"]) == {"profile.v2"}
    assert set(frame["weights"].dropna()) == {"random:0"}
    macs = summary(frame, "macs").set_index("model")["value"]
    for name in MODELS:
        assert macs[name] == sum(create_model(name).macs(32, 32).values())
    parts = summary(frame, "part_macs").groupby("model")["value"].sum()
    assert parts.to_dict() == macs.to_dict()
    assert frame.attrs["mixers"].keys() == {"dw_conv", "sw_attn"}


@pytest.mark.usefixtures("memory")
def test_samples_are_those_of_the_clock(tmp_path: Path) -> None:
    profile(tmp_path, durations=[0.5]).run()
    frame = read(tmp_path)
    assert set(raw(frame, "throughput")["value"]) == {4.0}, "2 images in 0.5 s"
    assert set(raw(frame, "latency")["value"]) == {0.5}
    assert set(raw(frame, "latency")["batch_size"]) == {1}
    assert set(raw(frame, "probe_peak")["value"]) == {1024**3 / 0.5}
    rounds = sorted(raw(frame, "probe_peak")["sample"])
    assert rounds == list(range(len(rounds)))
    for name in MODELS:
        assert sorted(raw(frame, "throughput", name)["sample"]) == rounds
        assert sorted(raw(frame, "latency", name)["sample"]) == list(range(4 * len(rounds)))
    assert summary(frame, "throughput_ratio")["value"].tolist() == [1.0, 1.0]


@pytest.mark.usefixtures("memory")
def test_sampling_stops_when_resolved_and_goes_on_for_a_narrower_target(tmp_path: Path) -> None:
    first = profile(tmp_path, time_budget=1000.0)
    first.run()
    frame = read(tmp_path)
    rounds = len(raw(frame, "probe_peak"))
    # the fewest that may resolve anything; of ten one may look like an outlier until the eleventh comes
    assert rounds - summary(frame, "dropped_rounds")["value"].item() in (10, 11)
    narrower = profile(tmp_path, time_budget=120.0, target_width=1e-9)
    report = narrower.run()
    frame = read(tmp_path)
    assert len(raw(frame, "probe_peak")) == 20, "120 s of 6 s each"
    assert report.measured == 20 - rounds
    assert set(summary(frame, "throughput_ratio")["status"]) == {"imprecise"}
    assert len(summary(frame, "throughput_ratio")) == 2, "the summary was replaced"
    assert profile(tmp_path, time_budget=120.0, target_width=1e-9).run().measured == 0


@pytest.mark.usefixtures("memory")
def test_out_of_time_after_ten_rounds_is_wide(tmp_path: Path) -> None:
    said: list[Progress] = []
    short = profile(tmp_path, time_budget=15.0, target_width=1e-9)
    short.tell = said.append
    short.run()
    frame = read(tmp_path)
    kept = len(raw(frame, "probe_peak")) - summary(frame, "dropped_rounds")["value"].item()
    assert 10 <= kept <= 12, "whatever the budget is"
    ratios = summary(frame, "throughput_ratio")
    assert set(ratios["status"]) == {"imprecise"}
    assert ratios["reason"].str.contains("s of sampling").all()
    second = next(event for event in said if "round 2 of at least 10" in event.text)
    assert second.seconds_left == pytest.approx(9 * second.done, rel=0.02)
    assert set(summary(frame, "throughput")["status"]) == {"imprecise"}


@pytest.mark.usefixtures("memory")
def test_fresh_measures_all_again_and_leaves_no_old_rows(tmp_path: Path) -> None:
    profile(tmp_path, time_budget=30.0).run()
    again = profile(tmp_path, time_budget=12.0)
    again.run(fresh=True)
    frame = read(tmp_path)
    assert set(frame["run_id"]) == {again.run_id}
    assert 10 <= len(raw(frame, "probe_peak")) <= 12


@pytest.mark.usefixtures("memory")
def test_the_automatic_batch_size_is_chosen_once(tmp_path: Path) -> None:
    profile(tmp_path, batch_size=None, durations=[0.01], time_budget=1.0).run()
    first = read(tmp_path)
    chosen = summary(first, "batch_size")["value"].unique().tolist()
    assert set(raw(first, "throughput")["batch_size"]) == set(chosen)
    resumed = profile(tmp_path, batch_size=None, durations=[0.4], time_budget=2.0)
    resumed.run()
    frame = read(tmp_path)
    assert summary(frame, "batch_size")["value"].unique().tolist() == chosen
    assert set(raw(frame, "throughput")["batch_size"]) == set(chosen)


def test_no_timing_gives_costs_alone(tmp_path: Path) -> None:
    profile(tmp_path, timing=False, resolutions=((32, 32), (32, 64))).run()
    frame = read(tmp_path)
    assert set(frame["metric"]) == {m for m in UNITS if UNITS[m] in ("count", "MAC")} - {"batch_size", "dropped_rounds"}
    macs = summary(frame, "macs").set_index(["model", "dataset"])["value"]
    for name in MODELS:
        assert macs[name, "noise:3x32x64"] == sum(create_model(name).macs(32, 64).values())
    sizes = set(zip(frame["dataset"], frame["resolution"], strict=True))
    assert sizes == {("noise:3x32x32", "32"), ("noise:3x32x64", "32x64")}


@pytest.mark.usefixtures("memory")
def test_training_times_whole_steps_and_their_phases(tmp_path: Path) -> None:
    profile(tmp_path, mode="train", runs=True, time_budget=1.0).run()
    frame = read(tmp_path)
    assert set(frame["definition"]) == {"profile.train.v2"}
    assert (frame["status"] != "failed").all()
    assert set(summary(frame, "phase_time")["condition"]) == {"forward", "backward", "optimizer"}
    assert frame[frame["metric"] == "latency"].empty
    assert summary(frame, "achieved_macs_per_second").empty, "MACs are those of a forward pass"


def test_memory_is_asked_for_in_the_runs_mode(tmp_path: Path, memory: list[MemorySpec]) -> None:
    profile(tmp_path, mode="train", time_budget=1.0, dtypes=("bf16",), plugins=("mine.py",), images="photos").run()
    assert [spec.arguments["spec"]["model"] for spec in memory] == list(MODELS)
    spec = memory[0]
    assert spec.arguments["spec"]["train"] is True
    assert spec.arguments["spec"]["dtype"] == "bf16"
    assert spec.arguments["batch"] == 2
    assert spec.arguments["spec"]["images"] == "noise", "reading pictures is not the model's memory"
    assert spec.arguments["plugins"] == ["mine.py"]
    assert spec.threads == 1


def test_operators_are_timed_stage_by_stage(tmp_path: Path) -> None:
    profile(tmp_path, level="operator", runs=True, time_budget=1.0).run()
    frame = read(tmp_path)
    assert (frame["status"] != "failed").all()
    for name in MODELS:
        model = create_model(name)
        for stage, side in enumerate((8, 4, 2, 1)):
            mixer = next(m for site, _, m in model.mixers() if site.stage == stage)
            found = summary(frame, "macs").query("model == @name and stage == @stage")["value"].tolist()
            assert found == [mixer.macs(side, side)]
    ratios = summary(frame, "throughput_ratio")
    assert sorted(ratios["stage"]) == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.usefixtures("memory")
def test_keys_depend_on_conditions_and_not_on_when_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "BLOCK_SECONDS", 60.0)  # ten rounds in one part
    first = profile(tmp_path, time_budget=6.0)
    first.run()
    same = profile(tmp_path, time_budget=6.0, target_width=0.5)
    assert same.run().measured == 0
    for number, change in enumerate(({"seed": 1}, {"channels_last": True}, {"dtypes": ("bf16",)}, {"batch_size": 4})):
        other = profile(tmp_path, time_budget=6.0, **change)
        assert other.run().measured > 0, number
    assert dataclasses.replace(first.config, time_budget=9.0).definition == "profile.v2"
    assert np.isfinite(read(tmp_path)["value"]).all()


@pytest.mark.usefixtures("memory")
def test_training_never_tries_a_batch_of_one(tmp_path: Path) -> None:
    # a BatchNorm that trains on a 1x1 map refuses it
    profile(tmp_path, mode="train", batch_size=None, runs=True, durations=[0.6], time_budget=1.0).run()
    frame = read(tmp_path)
    assert (frame["status"] != "failed").all()
    assert set(summary(frame, "batch_size")["value"]) == {2}


@pytest.mark.usefixtures("memory")
def test_photographs_are_named_as_the_input(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    profile(tmp_path, images="photos", runs=True, time_budget=1.0).run()
    frame = read(tmp_path)
    assert set(frame[frame["metric"] != "peak_memory"]["dataset"]) == {"photos:3x32x32"}
    assert (frame["status"] != "failed").all()
