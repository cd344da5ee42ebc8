"""What a step does: a batch in parts, clipped gradients, recomputed blocks, precisions, dropout, averages."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from stmbench.errors import ConfigError
from stmbench.tasks.base import clip
from stmbench.tasks.classification.task import Classification
from stmbench.training.batches import Places
from stmbench.training.distributed import ProcessGroup
from stmbench.training.loop import Loop
from stmbench.training.optimisation import WeightAverage
from tests.training.runs import PLAIN, RANDOM, memory, settings, trained

# without shifts; SGD, whose steps are the gradients and not their signs
EXACT = dataclasses.replace(PLAIN, crop_pixels=0, optimizer="sgd", lr=0.05, clip_grad=None, weight_decay=0.0)


def weights(made: Loop) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in made.model.named_parameters()}


@pytest.fixture
def _no_batch_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models whose head has no BatchNorm: it sees the images of one pass, so it is what accumulation changes."""
    build = Classification.build

    def built(task: Classification) -> nn.Module:
        model = build(task)
        for module in list(model.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(module, name, nn.Identity())
        return model

    monkeypatch.setattr(Classification, "build", built)


@pytest.mark.usefixtures("_no_batch_norm")
@pytest.mark.parametrize("clip", [None, 0.1])
def test_a_batch_in_four_parts(clip: float | None) -> None:
    recipe = dataclasses.replace(EXACT, clip_grad=clip)
    whole, parts = (trained(settings(recipe=recipe, dtype="fp64", accumulate=count)) for count in (1, 4))
    assert parts.record.losses == pytest.approx(whole.record.losses, abs=1e-12)
    torch.testing.assert_close(weights(parts), weights(whole), rtol=0, atol=1e-12)
    assert whole.record.losses[0] != whole.record.losses[-1]


def test_only_batch_norm_sees_the_parts() -> None:
    whole, parts = (trained(settings(recipe=EXACT, dtype="fp64", accumulate=count)) for count in (1, 4))
    assert parts.record.losses[0] != pytest.approx(whole.record.losses[0], abs=1e-9)


def test_gradients_are_clipped_to_their_norm() -> None:
    recipe = dataclasses.replace(
        EXACT, optimizer="momentum", momentum=0.0, warmup_epochs=0, epochs=1, lr=1.0, clip_grad=0.01
    )
    made = Loop(settings(recipe=recipe), memory(16), ProcessGroup(), keep=lambda *_: None, tell=lambda *_: None)
    before = copy.deepcopy(weights(made))
    made.run()
    moved = torch.cat([(value - before[name]).flatten() for name, value in weights(made).items()])
    assert float(moved.norm()) == pytest.approx(0.01, rel=1e-4), "one step of rate 1"


@pytest.mark.parametrize("length", [4.9, 5.0, 5.1, 0.0, math.nan])
def test_clipping_is_torchs(length: float) -> None:
    ours, theirs = ([nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(7))] for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    for one, other in zip(ours[:1], theirs[:1], strict=True):  # the last one has no gradient
        gradient = torch.randn(one.shape, generator=generator)
        one.grad, other.grad = (gradient * length / gradient.norm() for _ in range(2))
    clip(ours, 5.0)
    nn.utils.clip_grad_norm_(theirs, 5.0)
    torch.testing.assert_close(ours[0].grad, theirs[0].grad, rtol=0, atol=0, equal_nan=True)
    assert ours[1].grad is None


@pytest.mark.parametrize("model", ["unified_identity_nano", "container_container_nano"])
def test_recomputed_blocks_have_the_same_gradients(model: str) -> None:
    recipe = dataclasses.replace(EXACT, drop_path=0.3, epochs=2)
    runs = [settings(model=model, recipe=recipe, dtype="fp64", grad_checkpointing=on) for on in (False, True)]
    plain, again = map(trained, runs)
    assert again.record.losses == pytest.approx(plain.record.losses, abs=1e-12)
    torch.testing.assert_close(weights(again), weights(plain), rtol=0, atol=1e-12)


def test_a_model_that_cannot_recompute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stmbench.tasks.base.create_model", lambda *_, **__: nn.Linear(2, 2))
    with pytest.raises(ConfigError, match=r"recompute its blocks, got .*; leave --grad-checkpointing out"):
        Classification(settings(grad_checkpointing=True), memory(), ProcessGroup()).build()


@pytest.mark.parametrize(("dtype", "apart"), [("fp64", 1e-4), ("bf16", 0.05), ("fp16", 0.01)])
def test_precisions(dtype: str, apart: float) -> None:
    single, other = trained(settings(recipe=EXACT)), trained(settings(recipe=EXACT, dtype=dtype))
    # later on rounding has grown
    assert other.record.losses[:3] == pytest.approx(single.record.losses[:3], abs=apart)
    assert other.record.losses != single.record.losses
    wanted = torch.float64 if dtype == "fp64" else torch.float32
    assert {value.dtype for value in weights(other).values()} == {wanted}


def test_channels_last_is_the_same_run() -> None:
    plain, last = (trained(settings(recipe=EXACT, dtype="fp64", channels_last=on)) for on in (False, True))
    assert last.record.losses == pytest.approx(plain.record.losses, abs=1e-12)


def test_dropout_before_the_classifier_in_training_alone() -> None:
    model = Classification(settings(recipe=dataclasses.replace(PLAIN, dropout=0.5)), memory(), ProcessGroup()).build()
    x = torch.rand(4, 3, 32, 32)
    model.eval()
    assert torch.equal(model(x), model(x))
    model.get_classifier().train()  # type: ignore[operator]
    assert not torch.equal(model(x), model(x))


def test_the_average_is_judged_and_follows_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    judged, score = list[nn.Module](), Classification.score
    monkeypatch.setattr(
        Classification, "score", lambda task, model, final: (judged.append(model), score(task, model, final=final))[1]
    )
    made = trained(settings(recipe=RANDOM))
    assert made.average is not None
    assert made.result is made.average.module
    assert judged == [made.result, made.result, made.result, made.model], "once in each epoch, and the weights at last"
    assert [epoch.raw is None for epoch in made.record.epochs] == [True, True, False]
    for name, value in made.average.module.state_dict().items():
        if value.is_floating_point():
            assert (
                not torch.equal(value, made.model.state_dict()[name]) or float(value.std()) == 0 or value.numel() == 1
            )


def test_an_average_is_timms() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    ours, theirs = WeightAverage(model, 0.9), ModelEmaV3(model, decay=0.9, use_warmup=True)
    for step in range(5):
        with torch.no_grad():
            model(torch.rand(4, 2))
            model[0].weight.add_(0.1)
        ours.update(model, step=step)
        theirs.update(model, step=step)
    for name, value in theirs.module.state_dict().items():
        torch.testing.assert_close(ours.module.state_dict()[name], value, rtol=0, atol=0)
    assert int(ours.module[1].num_batches_tracked) == 5


def test_images_of_an_epoch_are_taken_once_and_the_rest_left_out() -> None:
    data = memory(44)  # two steps of 16, 12 images left out of each epoch
    made = trained(settings(), data)
    epochs = [made.record.epochs[index].images for index in range(3)]
    assert epochs == [32, 32, 32]
    places = made.places
    orders = []
    for epoch in range(3):
        places.epoch, places.start = epoch, 0
        keys = list(places)
        assert {number for number, _ in keys} == {epoch}
        assert len({place for _, place in keys}) == len(keys) == 32
        orders.append([place for _, place in keys])
    assert orders[0] != orders[1] != orders[2]
    places.epoch, places.start = 1, 1
    assert [place for _, place in places] == orders[1][16:], "from the second step on"


def test_images_that_are_read_in_blocks_are_shuffled_within_those_that_are_kept() -> None:
    blocks = np.repeat(np.arange(10), 7), 3

    def order(epoch: int, rank: int = 0, processes: int = 1, start: int = 0) -> list[int]:
        places = Places(range(70), batch=8, processes=processes, rank=rank, seed=5, blocks=blocks)
        places.epoch, places.start = epoch, start
        keys = list(places)
        assert len(places) == len(keys)
        return [place for _, place in keys]

    whole = order(0)
    assert len({*whole}) == len(whole) == 64
    windows = [{blocks[0][place] for place in whole[first : first + 21]} for first in (0, 21, 42)]
    assert [len(window) for window in windows] == [3, 3, 3], "three blocks at a time, each read once"
    assert len(set.union(*windows)) == 9
    assert sorted(whole[:21]) != whole[:21]
    assert order(1)[:21] != whole[:21]
    assert order(0, start=3) == whole[24:], "from the fourth step on"
    both = [order(0, rank, 2) for rank in range(2)]
    assert [place for pair in zip(*both, strict=True) for place in pair] == whole
