"""Our heads against torchvision's own, and what MMDetection does differently."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import project_masks_on_boxes
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign, roi_align

from stmbench.architectures.detectors.region_heads import CASCADE, StagedHeads
from stmbench.architectures.detectors.regions import RegionAlign, anchors, box_coder, mask_targets
from stmbench.kernels import setting
from tests.architectures.detectors.test_kinds import batch, detector
from tests.kernels import needs_kernels


def _of_torchvision(ours: torch.nn.Module, *, masks: bool) -> torch.nn.Module:
    """torchvision's detector with our pyramid and our weights."""
    own = {
        "min_size": 64,
        "max_size": 107,
        "rpn_anchor_generator": AnchorGenerator(tuple((8 * 2**i,) for i in range(5)), ((0.5, 1.0, 2.0),) * 5),
        "rpn_pre_nms_top_n_train": 40,
        "rpn_post_nms_top_n_train": 40,
        "rpn_pre_nms_top_n_test": 20,
        "rpn_post_nms_top_n_test": 20,
        "box_batch_size_per_image": 128,
        "box_roi_pool": MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2, canonical_scale=56),
        "box_head": TwoMLPHead(16 * 49, 64),
    }
    if masks:
        own["mask_roi_pool"] = MultiScaleRoIAlign(["0", "1", "2", "3"], 14, 2, canonical_scale=56)
        own["mask_head"] = MaskRCNNHeads(16, (16,) * 4, 1)
        own["mask_predictor"] = MaskRCNNPredictor(16, 16, 4)
        own["box_predictor"] = torch.nn.Identity()
    theirs = (MaskRCNN if masks else FasterRCNN)(ours.backbone, **(own if masks else {**own, "num_classes": 4}))
    heads = ours.roi_heads
    theirs.rpn.load_state_dict(ours.rpn.state_dict())
    theirs.roi_heads.box_head, theirs.roi_heads.box_predictor = heads.box_heads[0], heads.box_predictors[0]
    if masks:
        theirs.roi_heads.mask_head, theirs.roi_heads.mask_predictor = heads.mask_heads[0]
    return theirs


@pytest.mark.parametrize("kind", ["fasterrcnn", "maskrcnn"])
def test_one_stage_is_torchvisions_detector(kind: str) -> None:
    ours = detector(kind)
    theirs = _of_torchvision(ours, masks=kind == "maskrcnn")
    results = []
    for model in (ours, theirs):
        torch.manual_seed(3)
        losses = model.train()(*batch())
        with torch.inference_mode():
            results.append((losses, model.eval()(batch()[0])))
    (our_losses, our_boxes), (their_losses, their_boxes) = results
    assert our_losses.keys() == their_losses.keys()
    for name, loss in our_losses.items():
        torch.testing.assert_close(loss, their_losses[name])
    for mine, yours in zip(our_boxes, their_boxes, strict=True):
        assert mine.keys() == yours.keys()
        for name, value in mine.items():
            torch.testing.assert_close(value, yours[name])


def test_exact_cutting_samples_every_pixel_of_a_linear_map() -> None:
    # on a map that is linear in x, a bin's exact value is that of its centre, half a pixel left of torchvision's
    levels = {str(i): torch.arange(32.0)[None, None, None].expand(1, 1, 32, 32) for i in range(4)}
    boxes = [torch.tensor([[16.0, 16, 72, 72]])]
    ours = RegionAlign(7, anchor_size=32, exact=True)(levels, boxes, [(128, 128)])
    theirs = RegionAlign(7, anchor_size=32, exact=False)(levels, boxes, [(128, 128)])
    centres = (16 + 8 * (torch.arange(7) + 0.5)) / 4
    torch.testing.assert_close(ours[0, 0, 3], centres - 0.5)
    torch.testing.assert_close(theirs[0, 0, 3], centres)
    torch.testing.assert_close(ours, roi_align(levels["0"], boxes, 7, 0.25, 0, True))


def test_small_images_are_cut_at_the_right_scale() -> None:
    # torchvision's guess from an unpadded image of 36 pixels, padded to 64, is a stride of 2
    levels = {str(i): torch.randn(1, 1, 16 // 2**i, 16 // 2**i) for i in range(4)}
    boxes = [torch.tensor([[4.0, 4, 20, 20]])]
    ours = RegionAlign(7, anchor_size=32, exact=False)(levels, boxes, [(36, 36)])
    torch.testing.assert_close(ours, roi_align(levels["0"], boxes, 7, 0.25, 2, False))


def _cuts_and_gradients(*, exact: bool) -> list[Tensor]:
    """Of two images of objects of all sizes, with boxes that are cut from every level."""
    generator = torch.Generator().manual_seed(0)
    levels = {str(i): torch.randn(2, 8, 64 // 2**i, 48 // 2**i, generator=generator).requires_grad_() for i in range(4)}
    corners = 150 * torch.rand(2, 40, 2, generator=generator)
    boxes = [torch.cat([low, low + 120 * torch.rand(40, 2, generator=generator) ** 3], 1) for low in corners]
    cut = RegionAlign(7, anchor_size=4, exact=exact)(levels, boxes, [(256, 192)] * 2)
    weights = torch.randn(cut.shape, generator=generator)
    return [cut.detach(), *torch.autograd.grad((cut * weights).sum(), list(levels.values()))]


@pytest.mark.parametrize("sides", [(64,), (63, 64, 65)])
@pytest.mark.parametrize("size", [(64, 64), (64, 107), (80, 64), (64, 108), (63, 64)])
def test_images_of_the_right_size_are_what_torchvision_makes_of_them(
    size: tuple[int, int], sides: tuple[int, ...]
) -> None:
    found = []
    ours = detector("maskrcnn").transform
    for transform in (ours, GeneralizedRCNNTransform(64, 107, ours.image_mean, ours.image_std, size_divisible=32)):
        generator = torch.Generator().manual_seed(0)
        image, mask = (torch.rand(channels, *size, generator=generator) for channels in (3, 1))
        target = {"boxes": torch.tensor([[3.0, 4, 30, 50]]), "masks": mask.round().byte(), "labels": torch.tensor([1])}
        transform.min_size = sides
        torch.manual_seed(5)
        images, targets = transform.train()([image], [target])
        found.append([images.tensors, targets[0]["boxes"], targets[0]["masks"], torch.rand(())])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@needs_kernels
@pytest.mark.parametrize("exact", [False, True])
def test_kernels_cut_as_torchvision_does(exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with setting.counted() as calls:
        ours = _cuts_and_gradients(exact=exact)
    assert calls == {"roi_align": 1, "roi_align_backward": 1}
    monkeypatch.setenv("STMBENCH_KERNELS", "off")
    with setting.counted() as calls:
        theirs = _cuts_and_gradients(exact=exact)
    assert not calls
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
        assert other.abs().sum() > 0  # every level is cut from


@pytest.mark.parametrize("kernels", [pytest.param("auto", marks=needs_kernels), "off"])
def test_targets_of_masks_are_torchvisions(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STMBENCH_KERNELS", kernels)
    generator = torch.Generator().manual_seed(0)
    sizes = [(3, 40, 64), (0, 30, 30), (1, 64, 48)]  # objects, height and width of each image
    masks = [torch.randint(0, 2, size, generator=generator, dtype=torch.uint8) for size in sizes]
    corners = [40 * torch.rand(count, 4, generator=generator) - 5 for count in (6, 0, 3)]
    boxes = [torch.cat([box[:, :2], box[:, :2] + box[:, 2:].relu()], 1) for box in corners]
    objects = [torch.tensor([0, 1, 2, 2, 1, 0]), torch.zeros(0).long(), torch.zeros(3).long()]
    ours = mask_targets(masks, boxes, objects, 28)
    pairs = zip(masks, boxes, objects, strict=True)
    torch.testing.assert_close(ours, torch.cat([project_masks_on_boxes(*each, 28) for each in pairs]))
    assert 0.3 < float(ours.mean()) < 0.7


def test_anchors_and_coder_of_mmdet() -> None:
    exact, rounded = (anchors(((11.3,),), mmdet=mmdet).cell_anchors[0] for mmdet in (True, False))
    expected = torch.tensor([11.3 / math.sqrt(2), 11.3 * math.sqrt(2)])
    torch.testing.assert_close(exact[2, 2:] - exact[2, :2], expected)
    assert torch.equal(rounded, rounded.round())
    box, shrinks = torch.tensor([[0.0, 0, 1000, 1000]]), torch.tensor([[0.0, 0, -90, -90, 1, 1, 90, 90]])
    theirs = BoxCoder((10.0, 10.0, 5.0, 5.0)).decode_single(shrinks, box)
    ours = box_coder((10.0, 10.0, 5.0, 5.0), mmdet=True).decode_single(shrinks, box)
    assert theirs[0, 2] - theirs[0, 0] < 1e-3
    torch.testing.assert_close(ours[0, 2] - ours[0, 0], torch.tensor(16.0), rtol=1e-4, atol=1e-3)
    assert torch.equal(ours[:, 4:], theirs[:, 4:])  # growing has one limit


@pytest.mark.parametrize("kind", ["maskrcnn", "cascade-rcnn", "retinanet"])
def test_heads_of_mmdet_train(kind: str) -> None:
    model = detector(kind, options=",heads=mmdet")
    losses = model(*batch())
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert all(value.isfinite().all() for found in model.eval()(batch()[0]) for value in found.values())


def test_retinanets_losses_of_mmdet_are_per_positive_anchor_of_the_batch() -> None:
    images, targets = batch()  # the second has no objects
    ours, theirs = detector("retinanet", options=",heads=mmdet"), detector("retinanet")
    theirs.backbone, theirs.head, theirs.anchor_generator = ours.backbone, ours.head, ours.anchor_generator
    counts = []
    match = ours.proposal_matcher
    ours.proposal_matcher = lambda quality: counts.append(int((match(quality) >= 0).sum())) or match(quality)
    both = ours(images, targets)
    images, targets = theirs.transform(images, targets)
    separate = []
    for index, target in enumerate(targets):
        features = list(theirs.backbone(images.tensors).values())
        outputs = {name: value[index : index + 1] for name, value in theirs.head(features).items()}
        own = [theirs.anchor_generator(images, features)[index]]
        separate.append(theirs.compute_loss([{**target, "labels": target["labels"] - 1}], outputs, own))
    positive = counts[0]
    assert positive > 1
    for name, loss in both.items():
        expected = (separate[0][name] * positive + separate[1][name]) / positive
        torch.testing.assert_close(loss, expected)


def _heads(*, mmdet: bool = False) -> StagedHeads:
    torch.manual_seed(0)
    return StagedHeads(CASCADE, 8, 2, anchor_size=8, samples=512, positives=0.25, masks=False, mmdet=mmdet)


def _maps() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {str(i): torch.randn(1, 8, 16 // 2**i, 16 // 2**i, generator=generator) for i in range(4)}


def test_a_cascades_boxes_go_from_stage_to_stage() -> None:
    heads = _heads().eval()
    for index, predictor in enumerate(heads.box_predictors):  # each stage moves every box by 0.1 of its width
        torch.nn.init.zeros_(predictor.bbox_pred.weight)
        with torch.no_grad():
            predictor.bbox_pred.bias.copy_(torch.tensor([0.1 * CASCADE[index].weights[0], 0, 0, 0]))
    heads.score_thresh = 0.0
    found, _ = heads(_maps(), [torch.tensor([[10.0, 10, 30, 30]])], [(64, 64)])
    torch.testing.assert_close(found[0]["boxes"][0], torch.tensor([16.0, 10, 36, 30]))


@pytest.mark.parametrize("mmdet", [False, True])
def test_a_cascades_scores_are_averaged(mmdet: bool) -> None:
    heads = _heads(mmdet=mmdet).eval()
    logits = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    for predictor, own in zip(heads.box_predictors, logits, strict=True):
        torch.nn.init.zeros_(predictor.cls_score.weight)
        with torch.no_grad():
            predictor.cls_score.bias.copy_(own)
    found, _ = heads(_maps(), [torch.tensor([[10.0, 10, 30, 30]])], [(64, 64)])
    expected = logits.mean(0).softmax(0) if mmdet else logits.softmax(1).mean(0)
    scores = dict(zip(found[0]["labels"].tolist(), found[0]["scores"], strict=True))
    torch.testing.assert_close(torch.stack([scores[1], scores[2]]), expected[1:])


def test_a_cascade_weighs_stages_and_forgets_ground_truth() -> None:
    heads, seen = _heads().train(), []
    plain = heads.select_training_samples

    def recorded(boxes: list[Tensor], targets: object) -> object:
        seen.append((heads.proposal_matcher.high_threshold, heads.box_coder.weights, len(boxes[0])))
        return plain(boxes, targets)

    heads.select_training_samples = recorded
    for predictor in heads.box_predictors:
        torch.nn.init.zeros_(predictor.cls_score.weight)
        torch.nn.init.zeros_(predictor.cls_score.bias)
    target = {"boxes": torch.tensor([[10.0, 10, 30, 30]]), "labels": torch.tensor([2])}
    _, losses = heads(_maps(), [torch.tensor([[11.0, 10, 31, 30], [40, 40, 60, 60]])], [(64, 64)], [target])
    for stage, weight in zip((1, 2, 3), (1, 0.5, 0.25), strict=True):
        torch.testing.assert_close(losses[f"loss_classifier_{stage}"], torch.tensor(weight * math.log(3)))
    # two proposals in, and two after each stage: the ground truth that a stage added is not passed on
    assert seen == [
        (0.5, (10.0, 10.0, 5.0, 5.0), 2),
        (0.6, (20.0, 20.0, 10.0, 10.0), 2),
        (0.7, (30.0, 30.0, 15.0, 15.0), 2),
    ]
