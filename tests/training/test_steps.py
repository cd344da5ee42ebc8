"""What a step does: a batch in parts, clipped gradients, recomputed blocks, precisions, dropout, averages."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import nn

from stmbench.errors import ConfigError
from stmbench.tasks.classification.task import Classification
from stmbench.training.distributed import ProcessGroup
from stmbench.training.loop import Loop
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


def test_the_average_is_judged_and_follows_the_weights() -> None:
    made = trained(settings(recipe=RANDOM))
    assert made.average is not None
    assert made.result is made.average.module
    last = made.record.epochs[-1]
    assert last.raw is not None
    for name, value in made.average.module.state_dict().items():
        if value.is_floating_point():
            assert (
                not torch.equal(value, made.model.state_dict()[name]) or float(value.std()) == 0 or value.numel() == 1
            )


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
