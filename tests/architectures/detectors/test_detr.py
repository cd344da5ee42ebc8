"""Detectors that predict a set: every kind with any mixer, labels there and back, the losses, SMCA's modulation."""

from __future__ import annotations

import copy
import math
import re
import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_convert, generalized_box_iou

from stmbench.analyses.models import meta_model, packages_of
from stmbench.analyses.profile.costs import detector_costs
from stmbench.architectures.catalog import create_model
from stmbench.architectures.detectors.detr import valid
from stmbench.architectures.detectors.set_prediction import detections, losses, to_labels
from stmbench.architectures.detectors.smca import BETA, Modulation
from stmbench.errors import ConfigError, MissingPackageError
from tests.architectures.detectors.test_kinds import MIXERS, SIZES, batch

KINDS = ("detr", "deformable-detr", "smca")
LOSSES = {f"loss_{name}{layer}" for name in ("ce", "bbox", "giou") for layer in ("", "_0")}


def detector(kind: str, backbone: str = "unified_dw_conv_nano", options: str = "") -> Any:
    """A small detector of three classes."""
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    return create_model(f"{kind}:{backbone}[min_size=64,width=32,queries=12,num_classes=3{options}]")


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_reaches_every_parameter(kind: str, mixer: str) -> None:
    model = detector(kind, f"unified_{mixer}_nano")
    found = model(*batch())
    assert found.keys() == LOSSES
    sum(found.values()).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    still = [name for name, p in model.transformer.named_parameters() if not p.grad.any()]
    # queries begin as zeros, so the first layer has nothing to mix; some of Deformable DETR's weights do too
    zeros = r"layers\.0\.self_attn|attention_weights|bbox_embed|reference_points|level_embed|k_proj\.bias"
    assert not [name for name in still if not re.search(zeros, name)]


@pytest.mark.parametrize("kind", KINDS)
def test_detections_are_in_the_given_images_coordinates(kind: str) -> None:
    model = detector(kind).eval()
    with torch.inference_mode():
        found = model(batch()[0])
    assert not model.has_masks
    for one, (height, width) in zip(found, SIZES, strict=True):
        count = 12 if kind == "detr" else 36
        assert one["boxes"].shape == (count, 4)
        assert one["scores"].shape == one["labels"].shape == (count,)
        assert one["scores"].equal(one["scores"].sort(descending=True).values)
        assert set(one["labels"].tolist()) <= {1, 2, 3}
        assert one["boxes"].min() >= 0
        assert (one["boxes"].amax(0) <= torch.tensor([width, height, width, height]) + 1e-3).all()


def test_a_target_comes_back_as_a_detection() -> None:
    boxes, labels, size = torch.tensor([[8.0, 10, 40, 50], [0, 0, 20, 22]]), torch.tensor([3, 1]), (60, 90)
    wanted = to_labels({"boxes": boxes, "labels": labels}, size)
    torch.testing.assert_close(wanted["boxes"][0], torch.tensor([24 / 90, 30 / 60, 32 / 90, 40 / 60]))
    assert wanted["class_labels"].tolist() == [2, 0]
    sure = torch.zeros(2, 4)
    sure[[0, 1], wanted["class_labels"]] = torch.tensor([3.0, 6.0])
    for focal in (False, True):
        logits = sure[:, :3] if focal else sure
        found = detections(logits, wanted["boxes"], size, focal=focal)
        torch.testing.assert_close(found["boxes"][:2], boxes.flip(0))
        assert found["labels"][:2].tolist() == [1, 3]
    assert detections(torch.zeros(60, 4), torch.rand(60, 4), size, focal=True)["scores"].shape == (100,)


def test_the_class_for_no_object_is_no_detection() -> None:
    logits = torch.tensor([[0.0, 1.0, 5.0]])
    found = detections(logits, torch.full((1, 4), 0.5), (8, 8), focal=False)
    assert found["labels"].tolist() == [2]
    torch.testing.assert_close(found["scores"], logits.softmax(-1)[:, 1])


def _fixed() -> tuple[Tensor, Tensor, list[dict[str, Tensor]]]:
    """Two layers, one image, three queries; the second query is near the one object, of class 1."""
    logits = torch.tensor([[[[0.0, 1, 0], [0, 2, 0], [1, 0, 0]]], [[[0.0, 0, 2], [0, 3, 1], [0, 0, 1]]]])
    boxes = torch.tensor([[0.2, 0.2, 0.1, 0.1], [0.5, 0.5, 0.3, 0.4], [0.8, 0.7, 0.2, 0.2]])
    labels = [{"class_labels": torch.tensor([1]), "boxes": torch.tensor([[0.55, 0.5, 0.3, 0.3]])}]
    return logits, boxes.expand(2, 1, 3, 4), labels


def test_losses_of_fixed_tensors() -> None:
    pytest.importorskip("transformers")
    logits, boxes, labels = _fixed()
    found = losses(logits, boxes, labels, focal=False)
    assert found.keys() == LOSSES
    weights = torch.tensor([1.0, 1.0, 0.1])
    for name, layer in (("", 1), ("_0", 0)):
        expected = F.cross_entropy(logits[layer, 0], torch.tensor([2, 1, 2]), weights)
        torch.testing.assert_close(found[f"loss_ce{name}"], expected)
        torch.testing.assert_close(found[f"loss_bbox{name}"], torch.tensor(5 * 0.15))
    corners = [box_convert(box, "cxcywh", "xyxy") for box in (boxes[0, 0, 1:2], labels[0]["boxes"])]
    torch.testing.assert_close(found["loss_giou"], 2 * (1 - generalized_box_iou(*corners)[0, 0]))
    focal = losses(logits, boxes, labels, focal=True)
    p = logits[1, 0].sigmoid()
    wanted = torch.zeros_like(p)
    wanted[1, 1] = 1
    terms = 0.25 * wanted * (1 - p) ** 2 * -p.log() + 0.75 * (1 - wanted) * p**2 * -(1 - p).log()
    torch.testing.assert_close(focal["loss_ce"], 2 * terms.sum())
    torch.testing.assert_close(focal["loss_bbox"], found["loss_bbox"])


def test_the_last_layers_loss_is_the_librarys_own() -> None:
    model = detector("detr").eval()  # without dropout
    maps, sizes = torch.randn(2, model.backbone.channels[-1], 2, 3), [(64, 96), (40, 70)]
    labels = [to_labels(target, size) for target, size in zip(batch()[1], sizes, strict=True)]
    ours = losses(*model.transformer(maps, sizes), labels, focal=False)
    host = model.transformer.host
    theirs = host(pixel_values=maps, pixel_mask=valid(maps, sizes), labels=labels).loss
    torch.testing.assert_close(sum(ours[f"loss_{name}"] for name in ("ce", "bbox", "giou")), theirs)


def test_deformable_detr_is_the_librarys_own() -> None:
    model = detector("deformable-detr").eval()
    with torch.no_grad():
        for parameter in model.transformer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    maps, sizes = torch.randn(2, model.backbone.channels[-1], 2, 3), [(64, 96), (40, 70)]
    logits, boxes = model.transformer(maps, sizes)
    host = copy.deepcopy(model.transformer.host)
    host.class_embed, host.bbox_embed = (nn.ModuleList([head] * 2) for head in (host.class_embed, host.bbox_embed))
    theirs = host(pixel_values=maps, pixel_mask=valid(maps, sizes))
    torch.testing.assert_close(logits[-1], theirs.logits)
    torch.testing.assert_close(boxes[-1], theirs.pred_boxes)


@pytest.mark.parametrize("kind", ["detr", "smca"])
def test_padding_is_not_looked_at(kind: str) -> None:
    model = detector(kind).eval()
    maps = torch.randn(1, model.backbone.channels[-1], 2, 3)
    padded = F.pad(maps, (0, 2, 0, 1), value=7.0)
    for alone, beside in zip(model.transformer(maps, [(64, 70)]), model.transformer(padded, [(64, 70)]), strict=True):
        torch.testing.assert_close(alone, beside)


def test_the_modulation_is_the_papers_map() -> None:
    torch.manual_seed(0)
    modulation = Modulation(8, 2)
    nn.init.normal_(modulation.sharpness.weight)
    queries, centres = torch.randn(1, 3, 8), torch.rand(1, 3, 2) * 4
    log = modulation(queries, centres, (2, 5)).detach()
    assert log.shape == (1, 2, 3, 10)
    normed = modulation.norm(queries)
    offset, sharp = (layer(normed).view(1, 3, 2, 2) for layer in (modulation.offset, modulation.sharpness))
    for head in range(2):
        for query in range(3):
            c_w, c_h = (centres[0, query] + offset[0, query, head]).tolist()
            w, h = (1 / sharp[0, query, head]).tolist()
            for position in range(10):
                j, i = divmod(position, 5)
                g = math.exp(-((i - c_w) ** 2) / (BETA * w**2) - (j - c_h) ** 2 / (BETA * h**2))
                assert math.exp(log[0, head, query, position]) == pytest.approx(g, rel=1e-4, abs=1e-30)


def test_attention_is_multiplied_by_the_map() -> None:
    model = detector("smca").eval()
    transformer = model.transformer
    maps, sizes = torch.randn(2, model.backbone.channels[-1], 2, 3), [(64, 96), (32, 70)]
    seen, logs = [], []
    layers = transformer.host.model.decoder.layers
    layers[1].encoder_attn.register_forward_hook(lambda *call: seen.append(call), with_kwargs=True)
    transformer.modulations[1].register_forward_hook(lambda *call: logs.append(call[-1]))
    transformer(maps, sizes)
    (attention, _, named, (output, _)), (log,) = seen[0], logs
    queries = named["hidden_states"] + named["position_embeddings"]
    keys = named["key_value_states"] + named["encoder_position_embeddings"]
    heads = attention.q_proj.out_features // attention.head_dim
    values = named["key_value_states"]
    inputs = ((attention.q_proj, queries), (attention.k_proj, keys), (attention.v_proj, values))
    q, k, v = (layer(x).unflatten(-1, (heads, -1)).transpose(1, 2) for layer, x in inputs)
    weights = (q @ k.mT / attention.head_dim**0.5).exp() * log.exp()
    weights = weights * valid(maps, sizes).flatten(1)[:, None, None]
    mixed = (weights / weights.sum(-1, keepdim=True)) @ v
    torch.testing.assert_close(output, attention.o_proj(mixed.transpose(1, 2).flatten(2)), rtol=1e-4, atol=1e-5)


def test_smcas_boxes_begin_around_their_places() -> None:
    model = detector("smca").eval()
    transformer = model.transformer
    embedding = transformer.host.model.query_position_embeddings.weight
    last = transformer.host.bbox_predictor.layers[-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    _, boxes = transformer(torch.randn(1, model.backbone.channels[-1], 2, 3))
    centre = transformer.centre(transformer.modulations[0].norm(embedding)).sigmoid()
    torch.testing.assert_close(boxes[0, 0, :, :2], centre)


@pytest.mark.parametrize("kind", KINDS)
def test_two_trainings_are_equal_and_copies_are_independent(kind: str) -> None:
    states = []
    for copied in (False, True):
        model = detector(kind)
        model = copy.deepcopy(model) if copied else model
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        torch.manual_seed(5)
        for _ in range(2):
            optimizer.zero_grad()
            sum(model(*batch()).values()).backward()
            optimizer.step()
        states.append(model.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_keeps_boxes_and_scores_exact(kind: str) -> None:
    model = detector(kind)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(*batch())
        sum(found.values()).backward()
        boxes = model.eval()(batch()[0])[0]["boxes"]
    assert all(loss.isfinite() for loss in found.values())
    assert boxes.dtype == torch.float32
    assert not torch.equal(boxes, boxes.bfloat16().float())


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_that_is_no_number_is_seen(kind: str) -> None:
    model = detector(kind)
    with torch.no_grad():
        next(model.trunk.parameters()).fill_(torch.nan)
    assert not sum(model(*batch()).values()).isfinite()


@pytest.mark.parametrize("kind", KINDS)
def test_images_without_any_object_train_one_layer(kind: str) -> None:
    found = detector(kind, options=",layers=1")(*(part[1:] for part in batch()))
    sum(found.values()).backward()
    assert found.keys() == {"loss_ce", "loss_bbox", "loss_giou"}
    assert found["loss_ce"] > found["loss_bbox"] == 0


@pytest.mark.parametrize(("kind", "params"), [("detr", 41_577_888), ("deformable-detr", 34_119_713)])
def test_published_sizes(kind: str, params: int) -> None:
    # DETR prints 41,302,368 with stem and layer1 (222,400) frozen and BatchNorm's 53,120 as buffers; Zhu et al.: 34 M
    pytest.importorskip("transformers")
    model = meta_model(f"{kind}:timm:resnet50[num_classes=91]")
    assert sum(parameter.numel() for parameter in model.parameters()) == params


def test_macs_by_part() -> None:
    pytest.importorskip("transformers")
    costs = detector_costs(meta_model("detr:unified_dw_conv_nano[width=32,queries=5,num_classes=3]"), 64, 90)
    macs = {part: tally.macs for part, tally in costs.items()}
    assert list(macs) == ["backbone", "transformer"]
    n, d, q = 6, 32, 5  # 90 is padded to 96
    encoder = 4 * n * d * d + 2 * n * n * d + 2 * n * d * 256
    decoder = 6 * q * d * d + 2 * n * d * d + 2 * q * q * d + 2 * q * n * d + 2 * q * d * 256
    heads = q * (d * 4 + 2 * d * d + d * 4)
    assert macs["transformer"] == n * 128 * d + 2 * (encoder + decoder + heads)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("width=30", "width divisible by 4"),
        ("attention_heads=0", "attention_heads >= 1"),
        ("heads=mmdet", "heads"),
        ("anchor_size=8", "anchor_size"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_model(f"detr:unified_dw_conv_nano[{options}]")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingPackageError, match=r"stmbench\[detection\]"):
        create_model("detr:unified_dw_conv_nano")


def test_names_do_not_need_the_library() -> None:
    code = (
        "import sys; from stmbench.architectures.catalog import ModelName; "
        "ModelName.parse('smca:unified_dw_conv_nano'); assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_library_is_part_of_the_model() -> None:
    software = {"torchvision": "2", "transformers": "5"}
    assert packages_of(["smca:unified_dw_conv_nano"], software) == software
