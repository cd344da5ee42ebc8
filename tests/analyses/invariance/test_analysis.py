"""Invariance from a request to rows: what is invariant by construction, definitions, resume, failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from stmbench.analyses.images import ImageRequest
from stmbench.analyses.invariance.analysis import Invariance
from stmbench.analyses.invariance.definitions import InvarianceConfig
from stmbench.analyses.invariance.scores import Answers
from stmbench.analyses.loaded_model import LoadedModel
from stmbench.analyses.unit import Report
from stmbench.architectures.catalog import create_model
from stmbench.data.perturbations import Source, Translation
from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import ConfigError, UnknownNameError
from stmbench.measure.proportions import paired_proportion_difference
from stmbench.tables import Store

DW, SR = "unified_dw_conv_nano", "unified_sr_attn_nano"


def _run(folder: Path, kind: str = "translation", **changes: Any) -> tuple[Report, pd.DataFrame]:
    own = {key: changes.pop(key) for key in ("protocol", "levels", "fill", "order") if key in changes}
    request = ImageRequest(**{"models": (DW,), "dataset": "digits", "num_images": 20, "batch_size": 8, **changes})
    store = Store(folder)
    report = Invariance(InvarianceConfig(kind=kind, **own), request, store).run()  # type: ignore[arg-type]
    return report, store.read(report.keys)


def _values(frame: pd.DataFrame, metric: str) -> dict[float, float]:
    rows = frame[(frame["metric"] == metric) & frame["value"].notna()]
    return dict(zip(rows["level"], rows["value"], strict=True))


class Pointwise(nn.Module):
    """A 1x1 network and a global average: blind to where things are."""

    num_classes = 10

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 16, 1), nn.Tanh(), nn.Conv2d(16, 10, 1))

    def forward(self, x: Tensor) -> Tensor:
        # in order of value, so that the sum does not depend on the order of pixels in its last bits
        found: Tensor = self.layers(x).flatten(2).double().sort(-1).values.mean(-1)
        return found


class Placed(nn.Module):
    """Linear in the pixels: every place counts for itself."""

    num_classes = 10

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 32 * 32, 10)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x.flatten(1))
        return found


class Circular(Translation):
    """The shift around the edges, under which a global average of a pointwise network cannot change."""

    def supplies(self, source: Source, level: float) -> bool:
        return True

    def make(self, sources: Any, level: float) -> Tensor:
        crops = super().make(sources, 0)
        shifts = [tuple(int(step * level) for step in self.direction(source)) for source in sources]
        return torch.stack([crop.roll(shift, (1, 2)) for crop, shift in zip(crops, shifts, strict=True)])


@pytest.mark.parametrize(("network", "is_invariant"), [(Pointwise, True), (Placed, False)])
def test_what_is_invariant_by_construction_is_exactly_1(
    network: type[nn.Module], is_invariant: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    preprocessing = Preprocessing(size=(32, 32), crop_pct=1.0)
    loaded = LoadedModel(name=DW, model=network().eval(), weights="random:0", preprocessing=preprocessing,
                      num_classes=10, device=torch.device("cpu"), dtype=torch.float32)  # fmt: skip
    monkeypatch.setattr(Invariance, "loaded_model", lambda *_: loaded)
    made = Circular(preprocessing=preprocessing)
    monkeypatch.setattr("stmbench.analyses.invariance.analysis.perturbation", lambda *_, **__: made)
    _, frame = _run(tmp_path, levels=(0, 1, 5, 16), num_images=100)
    consistency = _values(frame, "consistency")
    area = frame.loc[frame["metric"] == "consistency_auc", ["value", "ci_low", "ci_high"]].to_numpy()
    if is_invariant:
        assert set(consistency.values()) == {1.0}
        assert area[0, [0, 2]].tolist() == [1.0, 1.0]
        assert area[0, 1] == pytest.approx(0.956, abs=1e-3)  # other images may disagree
    else:
        assert consistency[0] == 1.0
        assert consistency[16] < 0.9
        assert (area < 0.95).all()


def test_every_level_and_metric_has_a_row_and_what_is_missing_is_said(tmp_path: Path) -> None:
    report, frame = _run(tmp_path, fill="reflect", levels=(0, 2, 4))
    assert (report.measured, report.failures) == (1, [])
    for metric in ("consistency", "accuracy", "soft_cross_entropy", "displacement"):
        assert set(_values(frame, metric)) == {0, 2, 4}
    assert _values(frame, "consistency")[0] == 1.0
    assert set(frame["definition"]) == {"stmbench.reflect.v1"}
    assert set(frame["analysis"]) == {"invariance_translation"}
    with np.load(tmp_path / frame["artifact"].dropna().iloc[0]) as arrays:
        assert arrays["predicted"].shape == (3, 20)
        assert arrays["moved"][2].max() == pytest.approx(4 * 2**0.5)
    _, other = _run(tmp_path / "none", levels=(0, 2, 4))  # digits fill the model's input: nothing to move in
    skipped = other[other["status"] == "skipped"]
    assert set(skipped["level"]) == {2, 4}
    assert skipped["reason"].str.contains("20 of 20 images end before").all()
    assert set(_values(other, "consistency")) == {0}


def test_a_run_without_any_level_fails_and_says_how_to_mend_it(tmp_path: Path) -> None:
    report, frame = _run(tmp_path, levels=(8,))
    assert report.failures
    assert "--pad reflect" in frame["reason"].iloc[0]


def test_unlabelled_images_have_consistency_alone(tmp_path: Path) -> None:
    _, frame = _run(tmp_path, "rotation", dataset="photos", num_images=7, levels=(0, 30))
    assert set(frame["metric"]) == {"consistency", "consistency_auc", "soft_cross_entropy", "soft_cross_entropy_auc"}
    assert set(frame["condition"]) == {"before"}


def test_definitions_stand_beside_each_other(tmp_path: Path) -> None:
    kinds = {
        ("translation", "stmbench.v1"), ("translation", "paper.v1"), ("translation", "authors_code.v1"),
        ("rotation", "stmbench.v1"), ("rotation", "paper.v1"), ("rotation", "authors_code.v1"),
        ("scale", "stmbench.v1"), ("scale", "authors_code.v1"),
    }  # fmt: skip
    for kind, protocol in sorted(kinds):
        _run(tmp_path, kind, protocol=protocol, num_images=4)
    table = Store(tmp_path).read()
    found = set(zip(table["analysis"].str.removeprefix("invariance_"), table["definition"], strict=True))
    assert found == kinds
    authors = table[table["definition"] == "authors_code.v1"]
    assert sorted(authors.loc[authors["analysis"] == "invariance_scale", "level"].unique())[:2] == [0.2, 0.325]
    assert authors.loc[authors["analysis"] == "invariance_rotation", "level"].max() == 90
    assert (
        table.loc[(table["definition"] == "paper.v1") & (table["analysis"] == "invariance_rotation"), "level"].max()
        == 45
    )


def test_the_authors_rows_say_pre_of_both_orders_and_ours_do_not(tmp_path: Path) -> None:
    for protocol, order, said in (
        ("authors_code.v1", "before", "pre"),
        ("authors_code.v1", "after", "pre"),
        ("stmbench.v1", "before", "before"),
        ("stmbench.v1", "after", "after"),
    ):
        _, frame = _run(tmp_path, "rotation", protocol=protocol, order=order, levels=(0, 20), num_images=4)
        assert set(frame["condition"]) == {said}
        assert set(frame["definition"]) == {protocol.replace(".v1", f".{order}.v1" if order == "after" else ".v1")}


def test_the_authors_translation_moves_less_than_it_says(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"dataset": "photos", "models": ("unified_dw_conv_micro",), "num_images": 7}
    _, theirs = _run(tmp_path, protocol="authors_code.v1", levels=(0, 64), resolution=(64, 64), **changes)
    _, ours = _run(tmp_path, fill="reflect", levels=(0, 64), resolution=(64, 64), **changes)
    assert _values(ours, "displacement")[64] >= 64
    assert _values(theirs, "displacement")[64] < 64


def test_a_second_run_takes_what_is_there_and_batches_do_not_matter(tmp_path: Path) -> None:
    _, first = _run(tmp_path / "a", "rotation", levels=(0, 10, 20))
    report, _ = _run(tmp_path / "a", "rotation", levels=(0, 10, 20))
    assert (report.measured, report.kept) == (0, 1)
    _, other = _run(tmp_path / "b", "rotation", levels=(20, 10, 0), batch_size=20)
    assert np.allclose(first["value"], other["value"])


def test_a_model_that_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    state = create_model(DW, num_classes=10).state_dict()
    torch.save({**state, "stem.conv1.weight": state["stem.conv1.weight"] * float("nan")}, tmp_path / "nan.pth")
    changes: dict[str, Any] = {"models": (DW, SR), "checkpoints": {DW: tmp_path / "nan.pth"}}
    report, frame = _run(tmp_path / "out", "rotation", levels=(0, 10), **changes)
    (failure,) = report.failures
    assert "NaN logits" in failure
    assert set(frame.loc[frame["status"] == "ok", "model"]) == {SR}


def test_nonsense_is_refused() -> None:
    for changes in (
        {"levels": ()},
        {"levels": (-1.0,)},
        {"levels": (1.5,)},
        {"fill": "mirror"},
        {"order": "during"},
        {"protocol": "paper.v1", "fill": "reflect"},
    ):
        with pytest.raises(ConfigError):
            InvarianceConfig(kind="translation", **changes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        InvarianceConfig(kind="scale", levels=(0.0,))
    with pytest.raises(UnknownNameError):
        InvarianceConfig(kind="scale", protocol="paper.v1")


def test_differences_to_the_control_are_paired_by_image(tmp_path: Path) -> None:
    identity = "unified_identity_nano"
    _, frame = _run(tmp_path, models=(SR, identity), levels=(0, 2), fill="zeros")
    rows = frame[frame["baseline"].notna()]
    assert set(rows["model"]) == {SR}
    assert set(rows["baseline"]) == {identity}
    for metric in ("consistency", "accuracy"):
        sides = [_values(frame[frame["model"] == model], metric) for model in (SR, identity)]
        differences = _values(rows, f"{metric}_difference")
        assert differences == {level: pytest.approx(sides[0][level] - sides[1][level]) for level in (0, 2)}
    moved = rows[(rows["level"] == 2) & (rows["metric"] == "consistency_difference")].iloc[0]
    answers = {}
    for model in (SR, identity):
        artifact = frame.loc[(frame["model"] == model) & frame["artifact"].notna(), "artifact"].iloc[0]
        found = Answers.read(tmp_path / artifact)
        answers[model] = found.predicted[1] == found.reference
    paired = paired_proportion_difference(answers[SR], answers[identity])
    assert (moved["ci_low"], moved["ci_high"]) == pytest.approx((paired.low, paired.high))
    still = rows[(rows["level"] == 0) & (rows["metric"] == "consistency_difference")].iloc[0]
    assert (still["ci_low"], still["ci_high"]) == (0, 0)  # by definition
    again, _ = _run(tmp_path, models=(SR, identity), levels=(0, 2), fill="zeros")
    assert (again.measured, len(again.keys)) == (0, 3)
    _, frame = _run(tmp_path / "other", models=(SR, DW), levels=(0, 2), fill="zeros")
    assert frame["baseline"].isna().all()  # neither is the control
