"""Every kind trains for one step with any mixer, and follows torchvision's calling convention."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stmbench.architectures.catalog import create_model

SIZES = ((64, 48), (40, 64))
LOSSES = {
    "fasterrcnn": {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"},
    "maskrcnn": {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"},
    "cascade-rcnn": {
        *(f"{loss}_{stage}" for loss in ("loss_classifier", "loss_box_reg") for stage in (1, 2, 3)),
        "loss_objectness",
        "loss_rpn_box_reg",
    },
    "cascade-maskrcnn": {
        *(f"{loss}_{stage}" for loss in ("loss_classifier", "loss_box_reg", "loss_mask") for stage in (1, 2, 3)),
        "loss_objectness",
        "loss_rpn_box_reg",
    },
    "retinanet": {"classification", "bbox_regression"},
}
MIXERS = ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")


def detector(kind: str, backbone: str = "unified_dw_conv_nano", options: str = "", seed: int = 0) -> nn.Module:
    """A small detector of three classes."""
    torch.manual_seed(seed)
    own = "" if kind == "retinanet" else ",proposals=20,samples=128"
    return create_model(f"{kind}:{backbone}[min_size=64,width=16,anchor_size=8,num_classes=3{own}{options}]")


def batch() -> tuple[list[Tensor], list[dict[str, Any]]]:
    """Two images of different sizes, the second without objects."""
    generator = torch.Generator().manual_seed(1)
    images = [torch.rand(3, *size, generator=generator) for size in SIZES]
    boxes = [torch.tensor([[8.0, 10, 40, 50], [2, 2, 20, 22]]), torch.zeros(0, 4)]
    targets = [
        {
            "boxes": box,
            "labels": torch.tensor([3, 1])[: len(box)],
            "masks": torch.ones(len(box), *size, dtype=torch.uint8),
        }
        for box, size in zip(boxes, SIZES, strict=True)
    ]
    return images, targets


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("kind", LOSSES)
def test_a_step_reaches_every_parameter(kind: str, mixer: str) -> None:
    model = detector(kind, f"unified_{mixer}_nano")
    losses = model(*batch())
    assert losses.keys() == LOSSES[kind]
    total = sum(losses.values())
    assert total.isfinite()
    total.backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


@pytest.mark.parametrize("kind", LOSSES)
def test_detections_are_in_the_given_images_coordinates(kind: str) -> None:
    model = detector(kind).eval()
    for module in (model, getattr(model, "roi_heads", None)):
        if hasattr(module, "score_thresh"):
            module.score_thresh = 0.0  # an untrained RetinaNet is sure of nothing
    with torch.inference_mode():
        found = model(batch()[0])
    assert model.has_masks == kind.endswith("maskrcnn")
    for one, (height, width) in zip(found, SIZES, strict=True):
        count = len(one["boxes"])
        assert count > 0
        assert one["boxes"].shape == (count, 4)
        assert one["scores"].shape == one["labels"].shape == (count,)
        assert set(one["labels"].tolist()) <= {1, 2, 3}
        assert one["boxes"].min() >= 0
        assert one["boxes"][:, 2].max() <= width + 1e-3
        assert one["boxes"][:, 3].max() <= height + 1e-3
        assert ("masks" in one) == model.has_masks
        assert not model.has_masks or one["masks"].shape == (count, 1, height, width)


@pytest.mark.parametrize("kind", ["cascade-maskrcnn", "retinanet"])
def test_two_trainings_are_equal_bit_by_bit(kind: str) -> None:
    states = []
    for _ in range(2):
        model = detector(kind, "unified_halo_attn_nano")
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        torch.manual_seed(5)
        for _ in range(2):
            optimizer.zero_grad()
            sum(model(*batch()).values()).backward()
            optimizer.step()
        states.append(model.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("kind", ["cascade-maskrcnn", "retinanet"])
def test_autocast_keeps_boxes_and_scores_exact(kind: str) -> None:
    model = detector(kind)
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(*batch())
        sum(losses.values()).backward()
        for module in (model, getattr(model, "roi_heads", None)):
            if hasattr(module, "score_thresh"):
                module.score_thresh = 0.0
        found = model.eval()(batch()[0])
    assert all(loss.isfinite() for loss in losses.values())
    assert {value.dtype for one in found for value in one.values()} == {torch.float32, torch.int64}
    assert len(found[0]["boxes"]) > 0
    assert not torch.equal(found[0]["boxes"], found[0]["boxes"].bfloat16().float())


@pytest.mark.parametrize("kind", LOSSES)
def test_a_loss_that_is_no_number_is_seen(kind: str) -> None:
    model = detector(kind)
    with torch.no_grad():
        next(model.trunk.parameters()).fill_(torch.nan)
    assert not sum(model(*batch()).values()).isfinite()
