"""Profiles of detectors: what they are given, their costs and times by part, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from stmbench.analyses.models import design_size, meta_model
from stmbench.analyses.profile.costs import detector_costs
from stmbench.analyses.profile.inputs import OBJECTS, pixels, targets
from stmbench.analyses.profile.tasks import found_at_random
from stmbench.analyses.profile.timed_models import TimedModel, TimedModelSpec, TrainStep
from stmbench.architectures.detectors.base import sides_of
from stmbench.errors import ConfigError
from stmbench.tables import Store, read
from tests.analyses.profiles import memory, profile, raw, summary

__all__ = ["memory"]

OPTIONS = "min_size=64,width=16,num_classes=3"
MASK = f"maskrcnn:unified_dw_conv_nano[{OPTIONS},proposals=20]"
DETR = "detr:unified_dw_conv_nano[min_size=64,width=16,num_classes=3,queries=7]"
RETINA = f"retinanet:unified_dw_conv_nano[{OPTIONS}]"


def subject(name: str, **changes: Any) -> TimedModel:
    if name.startswith("detr"):
        pytest.importorskip("transformers")
    return TimedModel(TimedModelSpec(**{"model": name, "resolution": (32, 64), **changes}))


@pytest.mark.parametrize("name", [MASK, RETINA, DETR])
@pytest.mark.parametrize("train", [False, True])
def test_images_are_processed_at_the_resolution_asked_for(name: str, train: bool) -> None:
    timed = subject(name, train=train)
    images, *rest = timed.arguments(3)
    assert [image.shape for image in images] == 3 * [(3, 32, 64)]
    assert all(0 <= image.min() < image.max() <= 1 for image in images)
    assert not torch.equal(images[0], images[1])
    assert sides_of(timed.model) == (32, 64)
    batch, _ = timed.model.transform(images)  # type: ignore[operator]
    assert batch.tensors.shape == (3, 3, 32, 64)
    assert batch.image_sizes == 3 * [(32, 64)]
    assert len(rest) == train


def test_photographs_are_not_normalised() -> None:
    pytest.importorskip("skimage")
    found = pixels("photos", 2, (32, 48), torch.Generator())
    assert found.shape == (2, 3, 32, 48)
    assert 0 <= found.min() < 0.2
    assert 0.8 < found.max() <= 1


def test_detections_are_of_the_images_that_were_given() -> None:
    timed = subject(MASK)
    found: Any = timed.run(2)()
    assert len(found) == 2
    assert found[0].keys() == {"boxes", "scores", "labels", "masks"}


def test_targets_lie_inside_of_the_images_and_have_masks_where_asked_for() -> None:
    first, second = targets(2, (32, 64), classes=3, masks=True, generator=torch.Generator().manual_seed(0))
    boxes = torch.cat([first["boxes"], second["boxes"]])
    assert boxes.shape == (2 * OBJECTS, 4)
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= 64).all()
    assert (boxes[:, 3] <= 32).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= torch.tensor([16.0, 8.0])).all(), "a quarter of each side"
    assert {*first["labels"].tolist(), *second["labels"].tolist()} <= {1, 2, 3}
    assert first["masks"].shape == (OBJECTS, 32, 64)
    assert torch.allclose(first["masks"].sum((1, 2)).float(), first["area"], rtol=0.25)
    assert not torch.equal(first["boxes"], second["boxes"])
    (without,) = targets(1, (32, 64), classes=3, masks=False, generator=torch.Generator().manual_seed(0))
    assert "masks" not in without
    assert torch.equal(without["boxes"], first["boxes"]), "seeded"


# not RetinaNet in bf16: oneDNN's weight gradient of a 3 x 3 convolution of stride 2 on one position is not initialised
@pytest.mark.parametrize(("name", "dtype"), [(MASK, "bf16"), (RETINA, "fp32"), (DETR, "bf16")])
def test_a_training_step_has_all_losses_and_leaves_the_weights(name: str, dtype: str) -> None:
    timed = subject(name, train=True, dtype=dtype)
    before = [parameter.detach().clone() for parameter in timed.model.parameters()]
    step = timed.run(1)
    assert isinstance(step, TrainStep)
    step()
    for (path, parameter), old in zip(timed.model.named_parameters(), before, strict=True):
        assert parameter.grad is not None, path
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, old)


def test_half_precision_is_autocast_as_in_an_evaluation() -> None:
    timed = subject(RETINA, dtype="bf16")
    seen: set[torch.dtype] = set()
    convolution: Any = timed.model.get_submodule("head.classification_head.cls_logits")
    convolution.register_forward_hook(lambda _module, _inputs, output: seen.add(output.dtype))
    timed.run(1)()
    assert seen == {torch.bfloat16}
    assert {parameter.dtype for parameter in timed.model.parameters()} == {torch.float32}
    assert timed.arguments(1)[0][0].dtype == torch.float32


def test_a_mixer_of_the_trunk_is_timed_alone_on_its_own_map() -> None:
    for stage, side in ((0, 4), (3, 32)):
        timed = subject(MASK, stage=stage, resolution=(32, 60))  # padded to 64
        assert timed.input(2).shape == (2, 32 // side, 64 // side, 16 * side // 4)
        output: Any = timed.run(2)()
        assert output.shape == timed.input(2).shape


def test_what_random_weights_find_is_said() -> None:
    timed = subject(MASK)
    timed.model.roi_heads.score_thresh = 0.0  # type: ignore[union-attr]
    timed.model.rpn._post_nms_top_n = {"training": 9, "testing": 9}  # type: ignore[union-attr]
    arguments = timed.arguments(2)
    notes = found_at_random("m", timed.model, lambda: timed.model(*arguments), 2)
    assert notes["proposals_per_image"] == 9
    assert 0 < notes["detections_per_image"] <= 27
    assert "found 9 proposals and " in notes["warnings"][0]
    assert not timed.model.rpn._forward_hooks  # type: ignore[union-attr]
    plain = subject("unified_identity_nano")
    assert found_at_random("m", plain.model, plain.run(1), 1) == {}
    detr = subject(DETR)
    assert found_at_random("m", detr.model, detr.run(1), 1) == {"detections_per_image": 7}, "with any weights"


@pytest.mark.usefixtures("memory")
def test_a_profile_has_costs_and_times_by_part(tmp_path: Path) -> None:
    report = profile(tmp_path, models=(MASK,), batch_size=1, resolutions=((32, 64),), time_budget=1.0).run()
    assert not report.failures
    frame = read(tmp_path)
    found = {metric: summary(frame, metric) for metric in ("params", "macs", "part_params", "part_macs", "part_time")}
    parts = ["backbone", "pyramid", "proposals", "boxes", "masks"]
    for metric in ("params", "macs"):
        assert found[f"part_{metric}"]["condition"].tolist() == parts
        assert found[f"part_{metric}"]["value"].sum() == found[metric]["value"].item()
    # the mask heads are not called where random weights find nothing
    assert {*found["part_time"]["condition"]} - {"masks"} == {*parts, "other"} - {"masks"}
    assert len(raw(frame, "latency"))
    assert set(frame["resolution"].dropna()) == {"32x64"}
    assert "achieved_macs_per_second" not in set(frame["metric"]), "not all of its MACs are done"
    for warnings in (report.warnings, frame.attrs["warnings"]):
        assert any(re.search(r"random weights found [1-9]\d* proposals and ", text) for text in warnings)


def test_the_design_size_is_the_detectors(tmp_path: Path) -> None:
    assert design_size("maskrcnn:unified_dw_conv_nano") == (128, 213)
    assert design_size("fasterrcnn:unified_dw_conv_micro") == (800, 1333)
    profile(tmp_path, models=(RETINA,), timing=False).run()
    frame = read(tmp_path)
    assert set(summary(frame, "macs")["resolution"]) == {"64x107"}
    assert summary(frame, "part_params")["condition"].tolist() == ["backbone", "pyramid", "heads"]


@pytest.mark.parametrize("kind", ["detr", "deformable-detr", "smca"])
def test_detectors_of_sets_have_two_parts(kind: str) -> None:
    pytest.importorskip("transformers")
    model = meta_model(f"{kind}:unified_dw_conv_nano")
    costs = detector_costs(model, 64, 64)
    assert list(costs) == ["backbone", "transformer"]
    assert all(tally.macs > 1e6 for tally in costs.values())
    assert sum(tally.params for tally in costs.values()) == sum(p.numel() for p in model.parameters())


def test_a_compiled_detector_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"one graph, for --compile, got the detector retinanet:"):
        profile(tmp_path / "store", models=(RETINA,), compile=True).run()
    assert not (tmp_path / "store").exists()


def test_a_resolution_below_the_padding_is_refused(tmp_path: Path) -> None:
    report = profile(tmp_path, models=(RETINA,), resolutions=((16, 64),), timing=False).run()
    assert "got 16x64; use --resolution 32 or more" in report.failures[0]
    assert Store(tmp_path).keys(analysis="profile", status="ok") == []
