"""Box consistency with known answers: detectors that ignore their input, or find a thing exactly where it is."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from stmbench.analyses.box_consistency.analysis import BoxConsistency, Drawn, area_weights
from stmbench.analyses.box_consistency.figures import box_figures
from stmbench.analyses.box_consistency.images import brought, on_canvas, shifted, turned, turned_back
from stmbench.analyses.box_consistency.options import BoxConfig, BoxConsistencyOptions
from stmbench.analyses.box_consistency.section import box_section, box_table
from stmbench.analyses.images import ImageRequest
from stmbench.analyses.invariance.options import InvarianceOptions
from stmbench.analyses.loaded_model import LoadedModel
from stmbench.analyses.models import for_models
from stmbench.analyses.options import RunSettings
from stmbench.analyses.registry import ANALYSES
from stmbench.analyses.unit import Report
from stmbench.architectures.detectors.base import resized
from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import ConfigError
from stmbench.tables import Store

NAME, OTHER = "fasterrcnn:unified_dw_conv_nano", "fasterrcnn:unified_sw_attn_nano"


class Fake(nn.Module):
    """Resizes as detectors do; what it finds, a subclass says in pixels of what it is shown."""

    num_classes, has_masks = 3, False

    def __init__(self, shorter: int = 64, longer: int = 128) -> None:
        super().__init__()
        self.transform = SimpleNamespace(min_size=(shorter,), max_size=longer, image_mean=[0.5, 0.5, 0.5])

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        return [self._output(self.found(image)) for image in images]

    def found(self, image: Tensor) -> Tensor:
        """(n, 4) boxes."""
        height, width = image.shape[-2:]
        fractions = torch.tensor([[0.1, 0.2, 0.5, 0.6], [0.5, 0.5, 0.9, 0.8], [0.2, 0.1, 0.3, 0.9]])
        return fractions * torch.tensor([width, height, width, height])

    def _output(self, boxes: Tensor) -> dict[str, Tensor]:
        count = len(boxes)
        return {
            "boxes": boxes,
            "scores": torch.linspace(0.9, 0.3, count) if count > 1 else torch.full((count,), 0.9),
            "labels": torch.arange(count) % 3 + 1,
        }


class Extent(Fake):
    """Finds the rectangle of all that has not the colour of the canvas."""

    def found(self, image: Tensor) -> Tensor:
        inside = torch.nonzero((image != 0.5).any(0))
        return torch.cat([inside.min(0).values.flip(0), inside.max(0).values.flip(0) + 1])[None].float()


class OnlyOwnSize(Fake):
    """Finds nothing where it resizes to sides that are not its own."""

    def found(self, image: Tensor) -> Tensor:
        found = super().found(image)
        return found if self.transform.min_size[-1] == 64 else found[:0]


def _run(
    folder: Path, detector: Fake, monkeypatch: pytest.MonkeyPatch, kind: Any = "scale", **changes: Any
) -> tuple[Report, pd.DataFrame]:
    request = ImageRequest(models=(NAME,), dataset="shapes[size=64]", num_images=4, batch_size=2)
    store = Store(folder)
    analysis = BoxConsistency(BoxConfig(kind=kind, **changes), request, store)
    monkeypatch.setattr(analysis, "loaded_detector", lambda name: _loaded(detector, name))
    report = analysis.run()
    assert report.failures == []
    return report, store.read(report.keys)


def _loaded(detector: Fake, name: str) -> LoadedModel:
    return LoadedModel(
        name=name, model=detector, weights="random:0", num_classes=3, device=torch.device("cpu"), dtype=torch.float32,
        preprocessing=Preprocessing(size=(detector.transform.min_size[0], detector.transform.max_size)),
    )  # fmt: skip


def _values(frame: pd.DataFrame, metric: str) -> dict[float, float]:
    rows = frame[(frame["metric"] == metric) & frame["value"].notna()]
    return dict(zip(rows["level"], rows["value"], strict=True))


def test_a_detector_that_ignores_its_input_is_consistent_at_all_scales_that_are_large_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, frame = _run(tmp_path, Fake(), monkeypatch)
    expected = dict.fromkeys([n / 4 for n in range(2, 13)], 1.0)
    assert report.measured == 1
    assert _values(frame, "box_consistency") == expected
    assert _values(frame, "box_consistency_floor") == expected
    assert _values(frame, "box_consistency_auc") == {3.0: pytest.approx(1.0)}
    (skipped,) = frame[frame["status"] == "skipped"].to_dict("records")
    assert (skipped["level"], skipped["metric"]) == (0.25, "box_consistency")
    assert skipped["reason"] == "a shorter side of 16 pixels is below the network's stride, 32"
    assert set(frame["definition"]) == {"box_consistency.scale.v1"}
    assert set(frame["condition"].dropna()) == {"threshold=0.5"}
    boxes = frame.loc[frame["metric"] == "ground_truth_boxes", "value"].item()
    assert boxes == 4 * 2  # of three in each image, with scores of 0.9, 0.6 and 0.3
    padding = _values(frame, "padding_share")
    assert padding[1.0] == 0  # 64 x 64
    assert padding[1.25] == pytest.approx(1 - 80**2 / 96**2)


def test_what_is_found_at_one_scale_alone_is_not_consistent_and_the_pixels_are_not_to_blame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, frame = _run(tmp_path, OnlyOwnSize(), monkeypatch, levels=(0.5, 1.0, 2.0), threshold=0.2)
    assert _values(frame, "box_consistency") == {0.5: 0.0, 1.0: 1.0, 2.0: 0.0}
    assert _values(frame, "box_consistency_floor") == dict.fromkeys((0.5, 1.0, 2.0), 1.0)
    area = _values(frame, "box_consistency_auc")[2.0]
    assert area == pytest.approx(0.5)
    assert set(_values(frame, "box_ap")) == {0.5, 1.0, 2.0}
    assert "box_consistency" in set(frame["metric"])
    with np.load(tmp_path / frame["artifact"].dropna().iloc[0]) as arrays:
        assert arrays["drawn"].shape == (3, 1000)


def test_shifted_content_is_found_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, frame = _run(tmp_path / "a", Extent(), monkeypatch, "translation")
    assert _values(frame, "box_consistency") == dict.fromkeys(range(0, 65, 4), 1.0)
    _, frame = _run(tmp_path / "b", Fake(), monkeypatch, "translation", levels=(0.0, 64.0))
    assert _values(frame, "box_consistency")[64.0] < 0.2  # boxes that stay on the canvas move in the image


def test_turned_content_is_found_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.full((3, 40, 60), 0.5)
    image[:, 5:12, 20:50] = 1.0
    for quarters in range(4):
        (output,) = turned(Extent(), quarters)([image], [0])
        assert output["boxes"].tolist() == [[20, 5, 50, 12]]
    _, frame = _run(tmp_path, Fake(), monkeypatch, "rotation")
    assert _values(frame, "box_consistency")[0.0] == 1.0
    assert _values(frame, "box_consistency")[180.0] < 0.2


def test_four_quarters_are_none() -> None:
    boxes = torch.tensor([[1.0, 2.0, 30.0, 7.0]])
    once = turned_back(boxes, 1, (40, 60))
    assert once.tolist() == [[53.0, 1.0, 58.0, 30.0]]  # the turned image has 60 rows
    assert torch.equal(turned_back(turned_back(once, 1, (60, 40)), 2, (60, 40)), boxes)


def test_nothing_is_resampled_at_equal_sides_nor_by_a_shift() -> None:
    image = torch.rand(3, 50, 70, generator=torch.Generator().manual_seed(0))
    own = resized(image, (64, 128))
    assert torch.equal(brought(image, (64, 128), (64, 128)), own)
    assert not torch.equal(brought(image, (32, 64), (64, 128)), own)
    canvas = on_canvas(own, (3, 9), 8, torch.tensor([0.1, 0.2, 0.3]))
    assert canvas.shape == (3, own.shape[1] + 16, own.shape[2] + 16)
    assert torch.equal(canvas[:, 3 : 3 + own.shape[1], 9 : 9 + own.shape[2]], own)
    assert canvas[:, 0, 0].tolist() == pytest.approx([0.1, 0.2, 0.3])
    (output,) = shifted(Extent(), (64, 128), 8, margin=8, seed=3)([image], [5])
    assert output["boxes"].tolist() == [pytest.approx([0, 0, 70, 50])]  # in pixels of the original image


def test_intervals_are_paired_over_levels() -> None:
    drawn = Drawn(
        images=np.arange(2), levels=np.array([1.0, 2.0]), values=np.array([1.0, 0.5]),
        drawn=np.array([[1.0, 1.0, 1.0], [0.2, 0.5, 0.8]]),
    )  # fmt: skip
    assert area_weights((1.0, 2.0)).tolist() == [0.5, 0.5]
    assert area_weights((0.0, 1.0, 4.0)).tolist() == [0.125, 0.5, 0.375]
    interval = drawn.interval(area_weights((1.0, 2.0)))
    assert interval.estimate == 0.75
    assert 0.6 <= interval.low < 0.65
    assert 0.85 < interval.high <= 0.9


def test_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, frame = _run(tmp_path, OnlyOwnSize(), monkeypatch, levels=(0.25, 0.5, 1.0, 2.0))
    (figure,) = box_figures(frame).values()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["box consistency", "box AP", "padding of the input"]
    assert figure.get_supxlabel().endswith("box_consistency.scale.v1 · random init · threshold=0.5")
    floor, curve = figure.axes[0].lines
    assert (floor.get_linestyle(), list(floor.get_ydata())) == ("--", [100, 100, 100])
    assert list(curve.get_xdata()) == [0.5, 1, 2]
    assert list(curve.get_ydata()) == [0, 100, 0]
    section = box_section(frame)
    assert [table.name.rpartition("-")[2] for table in section.tables] == ["areas", "levels"]
    assert any("scale 0.25: a shorter side of 16 pixels" in caveat.text for caveat in section.caveats)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(box_table(frame))
    text = console.export_text()
    assert "8 boxes to find again" in text
    assert "left out: scale 0.25" in text


def test_differences_to_a_control_are_paired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = ImageRequest(models=(NAME, OTHER), dataset="shapes[size=64]", num_images=4)
    store = Store(tmp_path)
    analysis = BoxConsistency(BoxConfig(kind="scale", levels=(1.0, 2.0)), request, store, control=NAME)
    fakes = {NAME: _loaded(Fake(), NAME), OTHER: _loaded(OnlyOwnSize(), OTHER)}
    monkeypatch.setattr(analysis, "loaded_detector", fakes.get)
    report = analysis.run()
    assert (report.measured, report.failures) == (2, [])  # the comparison is derived from them
    frame = store.read(report.keys)
    rows = frame[frame["metric"] == "box_consistency_difference"].set_index("level")
    assert set(rows["model"]) == {OTHER}
    assert set(rows["baseline"]) == {NAME}
    assert rows["value"].to_dict() == {1.0: 0.0, 2.0: -1.0}
    assert rows.loc[2.0, ["ci_low", "ci_high"]].tolist() == [-1.0, -1.0]
    (area,) = frame[frame["metric"] == "box_consistency_auc_difference"].to_dict("records")
    assert (area["model"], area["baseline"], area["level"], area["value"]) == (OTHER, NAME, 2.0, -0.5)
    assert set(box_figures(frame)) == {"box_consistency_scale_differences", "box_consistency_scale"}
    assert analysis.is_complete()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "rotation", "levels": (45.0,)}, "expected angles of 0, 90, 180 or 270 degrees for boxes, got 45"),
        ({"kind": "scale", "levels": (0.0,)}, "expected scales from 0.01 to 10, got 0"),
        ({"kind": "translation", "levels": (0.5,)}, "expected whole pixels from 0 to 1024, got 0.5"),
        ({"kind": "scale", "threshold": 1.5}, "expected a score from 0 to 1, got 1.5"),
    ],
)
def test_what_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        BoxConfig(**given)


def test_invariance_of_detectors_is_box_consistency() -> None:
    spec = ANALYSES.get("invariance")
    other, options = for_models(spec, InvarianceOptions(kind="scale", levels=(1.0, 2.0), threshold=0.3), (NAME,))
    assert (other.name, options) == (
        "box_consistency", BoxConsistencyOptions(kind="scale", levels=(1.0, 2.0), threshold=0.3),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="expected no --pad for detectors, got zeros; leave it out"):
        for_models(spec, InvarianceOptions(pad="zeros"), (NAME,))
    run, store = RunSettings(models=("unified_dw_conv_nano",)), Store(Path("unused"))
    with pytest.raises(ConfigError, match="expected detectors, for --task detection, got unified_dw_conv_nano; write"):
        InvarianceOptions(task="detection").analysis(run, store)
    with pytest.raises(ConfigError, match="expected no --threshold without detectors"):
        InvarianceOptions(threshold=0.3).analysis(run, store)
