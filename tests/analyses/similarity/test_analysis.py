"""The analysis from a request to rows and matrices, what it keeps, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from stmbench.analyses.feature_maps import probes_of
from stmbench.analyses.images import ImageRequest
from stmbench.analyses.loaded_model import LoadedModel, load_model
from stmbench.analyses.similarity.analysis import SimilarityAnalysis
from stmbench.analyses.similarity.layers import whole_maps
from stmbench.analyses.similarity.options import SimilarityOptions
from stmbench.analyses.unit import Report
from stmbench.architectures.feature_extractor import as_feature_extractor
from stmbench.errors import InputError
from stmbench.tables import Store
from tests.data.builders import BROKEN, tree

IDENTITY, CONV, ATTENTION = (f"unified_{mixer}_nano" for mixer in ("identity", "dw_conv", "sw_attn"))
THREE = (CONV, IDENTITY, ATTENTION)


def _analysis(folder: Path, options: SimilarityOptions | None = None, **changes: Any) -> SimilarityAnalysis:
    request = {"models": (IDENTITY,), "dataset": "digits", "num_images": 12, "batch_size": 5, **changes}
    return SimilarityAnalysis(options or SimilarityOptions(), ImageRequest(**request), Store(folder))


def _run(analysis: SimilarityAnalysis) -> tuple[Report, pd.DataFrame]:
    report = analysis.run()
    return report, analysis.store.read(report.keys)


def test_every_layer_and_every_pair_has_its_rows(tmp_path: Path) -> None:
    report, frame = _run(_analysis(tmp_path, SimilarityOptions(batch=6), models=THREE, num_images=14))
    assert (report.measured, report.failures) == (5, [])  # three models, two pairs with the control
    assert (frame["status"] == "ok").all()
    counts = frame.groupby(["metric", "condition"]).size().to_dict()
    assert counts == {
        ("cka", "first block to last"): 3,
        ("cka", "pooled features"): 3,
        ("effective_rank", "block"): 24,
        ("effective_rank", "pooled features"): 3,
        ("uniformity", "block"): 24,
        ("uniformity", "pooled features"): 3,
    }
    pairs = frame[frame["baseline"].notna()]
    assert list(zip(pairs["model"], pairs["baseline"], strict=True)) == [
        (CONV, IDENTITY),
        (ATTENTION, IDENTITY),
        (ATTENTION, CONV),  # of pooled features alone
    ]
    assert pairs["artifact"].notna().tolist() == [True, True, False]
    assert (pairs["value"].between(0, 1) & (pairs["ci_low"] < pairs["value"]) & (pairs["ci_high"] <= 1)).all()
    assert set(frame.loc[frame["metric"] == "cka", "num_images"]) == {12}  # whole minibatches
    assert set(frame.loc[frame["metric"] != "cka", "num_images"]) == {14}
    assert set(pairs["resolution"]) == {"32"}
    assert set(frame["definition"]) == {"similarity.v1", "similarity.flat.v1"}
    with np.load(tmp_path / pairs["artifact"].iloc[0]) as arrays:
        assert arrays["cka"].shape == (9, 9)
        assert arrays["cka"][-1, -1] == pytest.approx(pairs["value"].iloc[0])
        assert arrays["stages"].tolist() == arrays["other_stages"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, -1]
    own = frame[frame["condition"] == "first block to last"].iloc[0]
    with np.load(tmp_path / own["artifact"]) as arrays:
        np.testing.assert_allclose(np.diag(arrays["cka"]), 1, atol=1e-12)
        assert arrays["cka"][0, 7] == pytest.approx(own["value"])


def test_a_second_run_keeps_everything_and_one_more_model_adds_its_own(tmp_path: Path) -> None:
    _, first = _run(_analysis(tmp_path, models=(CONV, IDENTITY)))
    analysis = _analysis(tmp_path, models=(CONV, IDENTITY))
    assert analysis.is_complete()
    report, again = _run(analysis)
    assert (report.measured, report.kept) == (0, 3)
    pd.testing.assert_series_equal(first["value"], again["value"])
    assert not _analysis(tmp_path, models=THREE).is_complete()
    report, _ = _run(_analysis(tmp_path, models=THREE))
    assert (report.measured, report.kept) == (2, 3)
    report, frame = _run(_analysis(tmp_path, SimilarityOptions(pairs="all"), models=THREE))
    assert (report.measured, report.kept) == (1, 5)
    assert frame.loc[frame["baseline"].notna(), "artifact"].notna().all()


def test_neither_batches_of_a_pass_nor_room_for_maps_change_a_value(tmp_path: Path) -> None:
    _, frame = _run(_analysis(tmp_path / "a", models=(CONV,)))
    _, other = _run(_analysis(tmp_path / "b", models=(CONV,), batch_size=12))
    pd.testing.assert_series_equal(frame["value"], other["value"], rtol=1e-4)
    loaded, images = load_model(CONV), torch.rand(6, 3, 32, 32)
    as_feature_extractor(loaded.model)
    probes = [probe for probe in probes_of(loaded.model) if probe.place == "block"]
    found = [dict(whole_maps(loaded, probes, images, 4, held=held)) for held in (2**30, 20_000, 1)]
    assert [tuple(maps.shape[1:]) for maps in found[0].values()][::4] == [(16, 8, 8), (64, 2, 2), (128,)]
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        assert all(torch.equal(maps, other[probe]) for probe, maps in found[0].items())


def test_pooled_maps_have_another_cka_and_the_same_rank(tmp_path: Path) -> None:
    _, flat = _run(_analysis(tmp_path))
    _, pooled = _run(_analysis(tmp_path, SimilarityOptions(features="pooled")))
    rank = flat["metric"] == "effective_rank"
    pd.testing.assert_series_equal(flat.loc[rank, "value"], pooled.loc[rank, "value"])
    first = [frame.loc[frame["metric"] == "cka", "value"].item() for frame in (flat, pooled)]
    assert first[0] != pytest.approx(first[1], abs=1e-4)


def test_two_seeds_differ_and_the_same_weights_do_not(tmp_path: Path) -> None:
    # layer scale silences the mixers at first, so that models whose other weights are drawn alike are nearly the same
    _, frame = _run(_analysis(tmp_path, models=(IDENTITY, "unified_pooling_nano")))
    assert frame.loc[frame["baseline"].notna(), "value"].item() == pytest.approx(1, abs=1e-6)
    analyses = [_analysis(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    for analysis in analyses:
        analysis.indices = list(range(12))
        analysis.run()
    one, other = (analysis._read(analysis._of_models()[IDENTITY]) for analysis in analyses)
    assert np.array_equal(one.indices, other.indices)
    unit = analyses[0]._of_models()[IDENTITY]
    row = analyses[0]._pair_row(unit, unit, one, other)
    assert row.value is not None
    assert 0.2 < row.value < 0.98


def test_models_of_timm_without_a_classifier_and_of_other_sizes(tmp_path: Path) -> None:
    models = (IDENTITY, "timm:resnet18[num_classes=0]", "timm:vit_tiny_patch16_224")
    report, frame = _run(_analysis(tmp_path, models=models, num_images=5))
    assert report.failures == []
    sizes = frame.drop_duplicates("model").set_index("model")["resolution"].to_dict()
    assert sizes == {IDENTITY: "32", models[1]: "224", models[2]: "224"}
    with np.load(tmp_path / frame.loc[frame["baseline"].notna(), "artifact"].iloc[1]) as arrays:
        assert arrays["cka"].shape == (13, 9)


class _Features(nn.Module):
    """A network of one block whose features are those that a function makes of the image's mean."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.block, self.make = nn.Identity(), make
        self.feature_info = [{"num_chs": 2, "reduction": 4, "module": "block"}]

    def reset_classifier(self, num_classes: int) -> None:
        """It has none."""

    def forward(self, x: Tensor) -> Tensor:
        features = self.make(x.mean((1, 2, 3)))[:, None] * torch.ones(2)
        return self.block(features[:, :, None, None])[:, :, 0, 0]


def _with(analysis: SimilarityAnalysis, model: nn.Module) -> SimilarityAnalysis:
    loaded = load_model(IDENTITY)
    facts = {**vars(loaded), "model": model}
    analysis._loaded = IDENTITY, LoadedModel(**facts)
    return analysis


def test_constant_features_have_no_value_but_a_reason(tmp_path: Path) -> None:
    report, frame = _run(_with(_analysis(tmp_path), _Features(torch.zeros_like)))
    assert report.failures == []
    assert set(frame["status"]) == {"skipped"}
    assert frame["value"].isna().all()
    reasons = frame.groupby("metric")["reason"].first()
    assert reasons["cka"] == reasons["effective_rank"] == "the features are the same for all images"
    assert "norm 0" in reasons["uniformity"]
    _, frame = _run(_with(_analysis(tmp_path / "ones"), _Features(torch.ones_like)))
    assert frame.set_index("metric")["status"].to_dict()["uniformity"] == "ok"


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (_Features(lambda x: x / 0), "got NaN or infinite ones after block"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(32), nn.Flatten(), nn.Linear(3072, 4)), "names its feature maps"),
    ],
)
def test_a_model_that_fails_has_a_row_with_the_reason(tmp_path: Path, model: nn.Module, reason: str) -> None:
    analysis = _with(_analysis(tmp_path, models=(IDENTITY, CONV)), model)
    report, frame = _run(analysis)
    failed = frame[frame["status"] == "failed"]
    assert (failed["model"].tolist(), len(report.failures)) == ([IDENTITY], 1)
    assert reason in failed["reason"].item()
    assert frame["baseline"].isna().all()  # no pair without both models
    assert not analysis.is_complete()


@pytest.mark.parametrize(
    ("options", "images", "message"),
    [
        ({"batch": 3}, 12, "expected batch from 4 to 16384, got 3; change --batch"),
        ({"batch": 13}, 12, "a minibatch of at most 12 images, which is all, got 13; lower --batch"),
        ({"num_images": 3}, 12, "expected num_images of at least 4, got 3"),
        ({}, 3, "expected at least 4 images, got 3"),
        ({"features": "mean"}, 12, "value for --features"),
        ({"pairs": "some"}, 12, "value for --pairs"),
    ],
)
def test_too_few_images_and_unknown_words_are_refused(
    tmp_path: Path, options: dict[str, Any], images: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _analysis(tmp_path, SimilarityOptions(**options), num_images=images)
    assert not list(tmp_path.iterdir())


def test_a_corrupt_image_of_a_set_smaller_than_a_minibatch_is_left_out(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"cat": 4, "dog": 4})
    (root / "dog" / "005.png").write_bytes(BROKEN)
    request = {"models": (CONV, IDENTITY), "dataset": str(root), "num_images": None}
    report, frame = _run(_analysis(tmp_path / "out", **request))
    assert report.failures == []
    assert set(frame["num_images"]) == {7}
    asked = _analysis(tmp_path / "asked", SimilarityOptions(batch=8), **request).run()
    assert "expected a minibatch of 8 images, got 7 readable ones; lower --batch" in asked.failures[0]
