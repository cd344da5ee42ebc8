"""Models on the meta device."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stmbench.architectures.catalog import create_model
from stmbench.architectures.meta_device import FILLING, on_meta_device


@pytest.mark.parametrize("name", ["unified_dcnv3_nano", "cotnet50", "maskrcnn:unified_sr_attn_nano", "timm:resnet18"])
def test_the_shapes_are_those_of_a_model_with_numbers(name: str) -> None:
    with on_meta_device():
        model = create_model(name)
    whole = create_model(name).state_dict()
    assert {key: (value.shape, value.dtype) for key, value in model.state_dict().items()} == {
        key: (value.shape, value.dtype) for key, value in whole.items()
    }
    assert all(parameter.is_meta for parameter in model.parameters())


def test_what_has_numbers_is_filled_and_what_is_filled_elsewhere_too() -> None:
    with on_meta_device():
        layer = nn.Linear(3, 4, device="cpu")
        nn.init.constant_(layer.weight, 2.0)
        nn.init.ones_(tensor=layer.bias)
        assert nn.init.zeros_(nn.Linear(3, 4).weight).is_meta
    assert layer.weight.eq(2).all()
    assert layer.bias.eq(1).all()
    assert nn.Linear(3, 4).weight.device.type == "cpu"


@pytest.mark.parametrize("filling", sorted(FILLING, key=lambda function: function.__name__))
def test_filling_never_changes_a_shape(filling: object) -> None:
    name = filling.__name__  # type: ignore[attr-defined]
    values = {"add_": [1.0], "mul_": [2.0], "fill_": [1.0], "constant_": [1.0], "clamp_": [0.0]}.get(name, [])
    with torch.device("meta"):
        tensor = torch.empty(3, 4)
        assert filling(tensor, *values).shape == (3, 4)  # type: ignore[operator]
