"""Detectors in analyses that were made for classification models: their backbones' fields, and who refuses them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from stmbench.analyses.detection.options import DetectionOptions
from stmbench.analyses.detector_analysis import body_of_detector
from stmbench.analyses.erf.analysis import Erf
from stmbench.analyses.erf.definitions import ErfConfig
from stmbench.analyses.eval.options import EvalOptions
from stmbench.analyses.images import ImageRequest
from stmbench.analyses.loaded_model import load_model
from stmbench.analyses.models import for_models
from stmbench.analyses.options import RunSettings
from stmbench.analyses.registry import ANALYSES
from stmbench.analyses.stages import stage_maps, stages_of
from stmbench.architectures.detectors.trunk import body_of
from stmbench.errors import ConfigError
from stmbench.tables import Store

DETECTOR = "fasterrcnn:unified_dw_conv_nano"


@pytest.mark.parametrize("name", ["affinity", "corruption", "frequency", "robustness"])
def test_a_detector_is_refused_in_one_line_before_anything_is_written(tmp_path: Path, name: str) -> None:
    kind = ANALYSES.get(name).options
    assert kind is not None
    run = RunSettings(models=(f"{DETECTOR}[min_size=64,halo=1]",))
    with pytest.raises(ConfigError) as caught:
        kind(**kind.small).analysis(run, Store(tmp_path / "store"))
    assert str(caught.value) == (
        f"expected a classification model, for {name}, got {DETECTOR}[min_size=64,halo=1]; "
        "name its backbone, unified_dw_conv_nano[halo=1]"
    )
    assert not (tmp_path / "store").exists()


def test_stages_of_a_detector_are_the_four_of_its_trunk_normalised_where_it_uses_them() -> None:
    torch.manual_seed(0)
    images = torch.rand(1, 3, 64, 64)
    loaded = load_model("retinanet:unified_dw_conv_nano")  # uses the last three of them
    body = body_of(loaded.model)
    for norm in body.norms:
        nn.init.constant_(norm.bias, 3.0)
    stages = stages_of(body)
    assert [stage.module for stage in stages] == [f"trunk.stages.{number}" for number in range(4)]
    with torch.no_grad():
        first, *used = stage_maps(body, stages, images)
        for own, expected in zip(used, body(images), strict=True):
            assert torch.equal(own, expected)
            assert _means(own) == pytest.approx(3.0, abs=1e-4)
        assert _means(first) != pytest.approx(3.0, abs=0.5)
        assert torch.equal(stage_maps(body, stages[1:2], images)[0], used[0])


def _means(x: Tensor) -> float:
    """The mean over channels, which a LayerNorm makes its bias."""
    return float(x.mean())


@pytest.mark.parametrize(
    ("given", "size"), [(None, (96, 96)), ((64, 96), (64, 96))]
)  # 100 is nearest to 96  # fmt: skip
def test_size_of_images(given: tuple[int, int] | None, size: tuple[int, int]) -> None:
    loaded = load_model(f"{DETECTOR}[min_size=100]")
    assert body_of_detector(loaded, given).preprocessing.size == size


def test_fields_of_the_backbone_in_a_detector_on_images_without_objects(tmp_path: Path) -> None:
    request = ImageRequest(models=(DETECTOR,), dataset="digits", num_images=2, resolution=(64, 64))
    store = Store(tmp_path)
    report = Erf(ErfConfig(stages=(0,)), request, store).run()
    assert report.failures == []
    frame = store.read(report.keys)
    assert set(frame["model"]) == {DETECTOR}
    assert set(frame["resolution"]) == {"64"}
    assert frame["value"].between(3 / 64, 25 / 64).all()  # a stem of two 3x3 convolutions and few 7x7 ones
    with pytest.raises(ConfigError, match="expected a stage from 1 to 4, got 6"):
        Erf(ErfConfig(stages=(5,)), request, store).run()


def test_what_detectors_do_not_have_is_refused_and_the_rest_is_their_analysis_own_default() -> None:
    spec = ANALYSES.get("eval")
    other, options = for_models(spec, EvalOptions(num_images=3), (DETECTOR,))
    assert (other.name, options) == ("detection", DetectionOptions(num_images=3))
    assert options.dataset == "shapes"
    kept = EvalOptions(keep_predictions=True)  # as every experiment has it
    assert for_models(spec, kept, (DETECTOR,))[1] == DetectionOptions()

    class Plain(EvalOptions):
        in_experiments: ClassVar[Mapping[str, Any]] = {}

    with pytest.raises(ConfigError, match="expected no --keep-predictions for detectors, got True; leave it out"):
        for_models(spec, Plain(keep_predictions=True), (DETECTOR,))
