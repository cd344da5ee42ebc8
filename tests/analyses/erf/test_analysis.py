"""The analysis from a request to rows and maps, what it skips when it runs again, and what fails alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from stmbench.analyses.erf.analysis import Erf
from stmbench.analyses.erf.definitions import DEFINITIONS, ErfConfig
from stmbench.analyses.erf.options import OURS
from stmbench.analyses.images import ImageRequest
from stmbench.analyses.unit import Report
from stmbench.architectures.catalog import create_model
from stmbench.errors import ConfigError, UnknownNameError
from stmbench.tables import Store

DW = "unified_dw_conv_nano"


def _run(folder: Path, config: ErfConfig | None = None, **changes: Any) -> tuple[Report, pd.DataFrame]:
    request = ImageRequest(**{"models": (DW,), "dataset": "digits", "num_images": 10, "batch_size": 4, **changes})
    store = Store(folder)
    report = Erf(config or ErfConfig(), request, store).run()
    return report, store.read(report.keys)


def test_every_stage_definition_and_percentage_has_a_row(tmp_path: Path) -> None:
    report, frame = _run(tmp_path, ErfConfig(percents=(50, 90)))
    assert (report.measured, report.failures) == (1, [])
    assert len(frame) == 4 * len(DEFINITIONS) * 2
    assert set(frame["metric"]) == {"erf"}
    assert set(frame["level"]) == {50, 90}
    assert set(frame["unit"]) == {"input_side"}
    assert frame["value"].max() <= 1  # the last map is 1x1: about its corner the square would be larger than the image
    assert set(frame["weights"]) == {"random:0"}
    assert set(frame["resolution"]) == {"32"}
    ours = frame[frame["definition"] == OURS].set_index(["stage", "level"])["value"]
    assert (ours.unstack()[50] < ours.unstack()[90]).all()
    assert ours.unstack()[50].is_monotonic_increasing
    with np.load(tmp_path / frame["artifact"].iloc[0]) as arrays:
        assert arrays["magnitude_3"].shape == (32, 32)
        assert arrays["centre_3"].tolist() == [15.5, 15.5]  # the only unit of a 1 x 1 map reaches the whole image
        assert arrays["centre_0"].tolist() == [16.0, 16.0]


def test_a_second_run_takes_what_is_there_and_batches_do_not_matter(tmp_path: Path) -> None:
    _, first = _run(tmp_path / "a")
    report, _ = _run(tmp_path / "a")
    assert (report.measured, report.kept) == (0, 1)
    _, other = _run(tmp_path / "b", batch_size=10)
    assert np.allclose(first["value"], other["value"])


def test_maps_that_are_gone_or_cut_are_made_again(tmp_path: Path) -> None:
    _, frame = _run(tmp_path)
    path = tmp_path / frame["artifact"].iloc[0]
    with np.load(path) as file:
        wanted = file["magnitude_3"]
    path.write_bytes(path.read_bytes()[:-100])
    for reason in ("bytes instead of", "the file is gone"):
        report, again = _run(tmp_path)
        assert (report.measured, report.kept) == (1, 0)
        assert reason in report.warnings[0]
        assert again["value"].tolist() == frame["value"].tolist()
        with np.load(path) as file:
            np.testing.assert_array_equal(file["magnitude_3"], wanted)
        path.unlink()


def test_some_stages_alone_agree_with_all(tmp_path: Path) -> None:
    _, some = _run(tmp_path / "some", ErfConfig(stages=(1,)))
    _, every = _run(tmp_path / "every")
    assert set(some["stage"]) == {1}
    same = every[every["stage"] == 1]
    assert np.allclose(some["value"], same["value"])


@pytest.mark.parametrize("model", ["timm:resnet18", "timm:convnext_atto"])
def test_models_of_timm_have_stages_too(tmp_path: Path, model: str) -> None:
    report, frame = _run(tmp_path, models=(model,), resolution=(64, 64), num_images=2)
    assert report.failures == []
    assert set(frame["stage"]) == {0, 1, 2, 3}


def test_a_model_that_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    state = create_model(DW, num_classes=10).state_dict()
    torch.save({**state, "stem.conv1.weight": state["stem.conv1.weight"] * float("nan")}, tmp_path / "nan.pth")
    models = (DW, "unified_sr_attn_nano")
    report, frame = _run(tmp_path / "out", models=models, checkpoints={DW: tmp_path / "nan.pth"})
    (failure,) = report.failures
    assert "is not finite" in failure
    assert set(frame.loc[frame["status"] == "ok", "model"]) == {"unified_sr_attn_nano"}


def test_a_stage_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a stage from 1 to 4, got 5; change --stages"):
        _run(tmp_path, ErfConfig(stages=(4,)))
    assert not list(tmp_path.glob("parts/*")), "refused before anything is measured"


def test_nonsense_is_refused() -> None:
    for percents in ((), (0.0,), (101.0,), (-5.0,)):
        with pytest.raises(ConfigError):
            ErfConfig(percents=percents)
    with pytest.raises(UnknownNameError):
        ErfConfig(definitions=("paper.v7",))
    with pytest.raises(ConfigError):
        ErfConfig(stages=())
