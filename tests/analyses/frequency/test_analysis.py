"""The analysis from a request to rows and arrays, what it keeps, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from stmbench.analyses.frequency.analysis import FrequencyAnalysis
from stmbench.analyses.frequency.options import CHANGE, FrequencyOptions
from stmbench.analyses.images import ImageRequest
from stmbench.analyses.unit import Report
from stmbench.errors import ConfigError
from stmbench.tables import Store
from tests.analyses.frequency.networks import Listening, register_box_blur, subject_of

IDENTITY = "unified_identity_nano"
SMALL = FrequencyOptions(grid=3, bands=2)


def _run(folder: Path, options: FrequencyOptions = SMALL, **changes: Any) -> tuple[Report, pd.DataFrame]:
    request = ImageRequest(**{"models": (IDENTITY,), "dataset": "digits", "num_images": 6, "batch_size": 4, **changes})
    store = Store(folder)
    report = FrequencyAnalysis(options, request, store).run()
    return report, store.read(report.keys)


def test_every_map_and_every_noise_has_its_rows(tmp_path: Path) -> None:
    report, frame = _run(tmp_path)
    assert (report.measured, report.failures) == (3, [])
    ok = frame[frame["status"] == "ok"]
    counts = ok.groupby(["metric", "condition"], dropna=False).size().to_dict()
    assert {(name, None if pd.isna(place) else place): count for (name, place), count in counts.items()} == {
        ("relative_log_amplitude", "block"): 6,  # the last stage's map at 32 px is one unit
        ("relative_log_amplitude", "mixer input"): 6,
        ("relative_log_amplitude", "mixer output"): 6,
        ("relative_log_amplitude_change", "mixer"): 6,
        ("relative_log_amplitude_change", "mean over mixers"): 1,
        ("fourier_error", None): 1,
        ("fourier_changed", None): 1,
        ("accuracy", "clean"): 1,
        ("accuracy", "band"): 2,
        ("consistency", "band"): 2,
    }
    assert set(ok["unit"]) == {"1"}
    definitions = ok.groupby("metric")["definition"].unique().map(list).to_dict()
    assert definitions["relative_log_amplitude"] == ["frequency.v1"]  # a norm of the noise does not touch it
    assert definitions["fourier_error"] == definitions["accuracy"] == ["frequency.scaled_norm.v1"]
    assert set(ok["num_images"]) == {6}
    assert sorted(ok.loc[ok["condition"] == "band", "level"].unique()) == [0.25, 0.75]
    skipped = frame[frame["status"] == "skipped"]
    assert (set(skipped["stage"]), len(skipped)) == ({3}, 6)
    assert "has no frequency but 0" in skipped["reason"].iloc[0]
    with np.load(tmp_path / ok.loc[ok["condition"] == "block", "artifact"].iloc[0]) as arrays:
        assert arrays["block_0_1_frequencies"].tolist() == [0, 0.25, 0.5, 0.75, 1]
        value = ok[(ok["condition"] == "block") & (ok["stage"] == 0) & (ok["block"] == 1)]["value"].item()
        assert arrays["block_0_1_diagonal"][-1] == pytest.approx(value)
        assert arrays["block_0_1_radial"].shape == (5,)


def test_the_identity_changes_nothing_and_a_box_blur_what_it_must(tmp_path: Path) -> None:
    register_box_blur()
    options = FrequencyOptions(parts=("spectra",))
    _, frame = _run(tmp_path, options, models=(IDENTITY, "unified_box_blur_nano"))
    change = frame[frame["metric"] == CHANGE]
    assert (change.loc[change["mixer"] == "identity", ["value", "ci_low", "ci_high"]] == 0).all(axis=None)
    blurred = change[change["mixer"] == "box_blur"]
    assert len(blurred) == 7
    np.testing.assert_allclose(blurred["value"], -2 * math.log(3), atol=0.02)


def test_a_second_run_keeps_everything_and_batches_do_not_matter(tmp_path: Path) -> None:
    _, first = _run(tmp_path / "a")
    report, _ = _run(tmp_path / "a")
    assert (report.measured, report.kept) == (0, 3)
    report, _ = _run(tmp_path / "a", FrequencyOptions(grid=3, bands=4))
    assert (report.measured, report.kept) == (1, 2)  # the number of bands changes no other part
    _, other = _run(tmp_path / "b", batch_size=6)
    pd.testing.assert_series_equal(first["value"], other["value"], atol=1e-5)


def test_the_heat_map_of_a_model_that_listens_to_one_frequency(tmp_path: Path) -> None:
    mask = torch.zeros(32, 17, dtype=torch.bool)
    mask[16, 16] = True
    request = ImageRequest(models=(IDENTITY,), dataset="digits", num_images=4, batch_size=4)
    options = FrequencyOptions(parts=("heat_map", "bands"), grid=3, norm=100.0, bands=2)
    analysis = FrequencyAnalysis(options, request, Store(tmp_path))
    analysis.labelled = False
    analysis._loaded = IDENTITY, subject_of(Listening(mask, threshold=50.0), (32, 32))
    report = analysis.run()
    frame = analysis.store.read(report.keys)
    assert set(frame["metric"]) == {"fourier_changed", "consistency"}
    value = frame.set_index("metric")["value"]
    assert value["fourier_changed"] == pytest.approx(4 / 9)  # (16, 16) is all four corners of the map
    assert (value["consistency"] == 1).all()  # corners of the plane are in no ring
    with np.load(tmp_path / frame.loc[frame["metric"] == "fourier_changed", "artifact"].item()) as arrays:
        assert arrays["fourier_changed"].tolist() == [[1, 0, 1], [0, 0, 0], [1, 0, 1]]
        assert arrays["rows"].tolist() == [-16, 0, 16]
        assert arrays["predicted"].shape == (4, 4)


def test_the_published_norm_follows_the_image() -> None:
    options = FrequencyOptions()
    assert options.norm_at(224, 224) == 15.7
    assert options.norm_at(32, 32) == pytest.approx(2.242857)
    assert options.norm_at(112, 448) == 15.7
    assert FrequencyOptions(norm=4).norm_at(32, 32) == 4
    assert FrequencyOptions(norm=2.5).noise_definition == "frequency.norm2_5.v1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": ("spectra", "waves")}, "expected at least one part of spectra, heat_map, bands, got 'waves'"),
        ({"parts": ()}, "got none"),
        ({"norm": 0.0}, "a norm above 0"),
        ({"norm": math.nan}, "a norm above 0"),
        ({"grid": 4}, "an odd number of frequencies"),
        ({"grid": 1}, "grid from 3"),
        ({"max_frequency": 0}, "max_frequency of at least 1"),
        ({"bands": 0}, "bands from 1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FrequencyOptions(**options)


def test_a_model_that_fails_fails_alone(tmp_path: Path) -> None:
    options = FrequencyOptions(parts=("bands",), bands=40)
    report, frame = _run(tmp_path, options)
    assert frame["status"].tolist() == ["failed"]
    assert "use fewer --bands" in frame["reason"].item()
    assert len(report.failures) == 1
