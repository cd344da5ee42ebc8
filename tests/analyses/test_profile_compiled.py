"""`--compile`: every model's rows are those of a compiled model, or there are none."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stmbench.analyses.profile.config import ProfileConfig, Setting
from stmbench.analyses.profile.timing_harness import BatchPlan, TimingHarness
from stmbench.errors import UnitError
from stmbench.measure.backend_settings import Compilation
from stmbench.mixers.base import MixerConfig, register_mixer
from stmbench.tables import read
from tests.analyses.profiles import memory, profile, raw
from tests.measure.fake_clock import ScriptedTimer
from tests.measure.quick_compiler import quick_compiler

__all__ = ["memory", "quick_compiler"]
MODEL = "unified_pooling_nano"


def bench(**changes: Any) -> TimingHarness:
    setting = Setting(resolution=(32, 32), dtype="fp32")
    config = ProfileConfig(models=(MODEL,), level="operator", compile=True, resolutions=((32, 32),), **changes)
    return TimingHarness(config, setting, ScriptedTimer([0.6]))


def test_more_subjects_than_the_compiler_has_room_for_are_all_compiled() -> None:
    under_test = bench()
    with torch._dynamo.config.patch(cache_size_limit=2):  # graphs of one `forward`, which these share
        under_test.prepare({(MODEL, stage): BatchPlan(batch=2) for stage in range(4)})
    assert under_test.failures == {}
    assert len(under_test.graphs) == 8, "two batch sizes each"
    assert {tuple(facts.items()) for facts in under_test.graphs.values()} == {(("graphs", 1), ("graph_breaks", 0))}
    before = Compilation.so_far()
    next(iter(under_test.sample(first=0)))
    assert Compilation.so_far().since(before).graphs == 0


def test_what_is_compiled_while_it_is_timed_is_refused() -> None:
    under_test = bench()
    under_test.prepare({(MODEL, 3): BatchPlan(batch=2)})
    under_test.require_same_graphs()
    under_test.subject((MODEL, 3)).run(3)()
    with pytest.raises(UnitError, match="expected 0 compiled graphs without a break, got 1 graph and"):
        under_test.require_same_graphs()


def test_the_compilers_advice_to_round_products_is_left_out_and_nothing_else() -> None:
    subject = bench().subject((MODEL, 3))
    run = subject.run(2)

    def first_call() -> None:
        warnings.warn("TensorFloat32 tensor cores available but not enabled", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
        run()

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        subject.compile(2, first_call)
    assert "something else" in [str(warning.message) for warning in seen]
    assert not [warning for warning in seen if "TensorFloat32" in str(warning.message)]


def test_the_batch_is_chosen_without_the_compiler() -> None:
    before = Compilation.so_far()
    assert bench().choose_batch((MODEL, 3), 1.0).batch >= 1
    assert Compilation.so_far().since(before).graphs == 0


@pytest.mark.usefixtures("memory")
def test_a_model_whose_graph_breaks_has_no_rows_of_the_compiled_kind(tmp_path: Path) -> None:
    @register_mixer("breaking", config=MixerConfig)
    class Breaking(nn.Module):
        def __init__(self, config: MixerConfig) -> None:
            super().__init__()

        def forward(self, x: Tensor) -> Tensor:
            torch._dynamo.graph_break()
            return x

    models = (MODEL, "unified_breaking_nano")
    first = profile(tmp_path, models=models, level="operator", compile=True, runs=True, time_budget=1.0)
    first.run()
    frame = read(tmp_path)
    assert set(raw(frame[frame["status"] == "ok"], "throughput")["model"]) == {MODEL}
    for reason in frame[frame["status"] == "failed"]["reason"]:
        assert reason.startswith("expected 1 compiled graph without a break, got ")
    key, *_ = first.store.keys(task="rounds")
    noted = first.store.metadata(key)["compiled"]
    assert noted[f"{MODEL}, stage 0, batch 2"] == {"graphs": 1, "graph_breaks": 0}
    assert len(noted) == 8


def test_a_batch_of_one_is_one_graph() -> None:
    under_test = bench()
    under_test.prepare({(MODEL, 3): BatchPlan(batch=1)})
    assert under_test.failures == {}
