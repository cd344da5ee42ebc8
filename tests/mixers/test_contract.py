"""What the contract offers to mixers beyond their forward pass: where they are, and the weights of their authors."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from stmbench.architectures.base import ARCHITECTURES, build_backbone
from stmbench.architectures.catalog import create_model
from stmbench.architectures.timm_registry import TIMM_OPTIONS
from stmbench.architectures.unified import UnifiedConfig, build_unified
from stmbench.checkpoints import load_checkpoint
from stmbench.errors import CheckpointError, ConfigError, PluginError
from stmbench.mixers.base import MIXERS, RESERVED_OPTIONS, BlockPosition, Mixer, MixerConfig, Preset, register_mixer


@pytest.mark.parametrize("name", ["unified_dw_conv_micro", "cotnet50"])
def test_positions_count_the_blocks_of_the_whole_network(name: str) -> None:
    positions: list[BlockPosition] = create_model(name).mixer_positions
    depth = positions[0].depth
    assert [p.index for p in positions] == list(range(depth))
    assert depth == len(positions) == (17 if "micro" in name else 16)
    assert (positions[2].stage, positions[2].block, positions[2].index) == (0, 2, 2)


class Scaled(Mixer):
    """A mixer whose authors call its weight `gamma` and lay it out as (C, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.config = MixerConfig(dim=4)
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {{"gamma": "scale"}.get(key, key): value.reshape(-1) for key, value in state.items()}


def test_a_mixer_by_itself_takes_its_authors_state_dict() -> None:
    mixer = Scaled()
    load_checkpoint(mixer, {"gamma": torch.tensor([[1.0], [2.0], [3.0], [4.0]])})
    assert mixer.scale.tolist() == [1, 2, 3, 4]
    load_checkpoint(mixer, {"scale": torch.tensor([4.0, 3.0, 2.0, 1.0])})
    assert mixer.scale.tolist() == [4, 3, 2, 1]
    with pytest.raises(CheckpointError, match="beta"):
        load_checkpoint(mixer, {"beta": torch.ones(4, 1)})
    assert mixer.merge() is mixer


def test_the_authors_layout_is_an_option_of_the_model() -> None:
    layout = Preset(dims=(8, 16, 24, 32), depths=(1, 2, 1, 1), mlp_ratios=(2, 2, 2, 2))
    entry = dataclasses.replace(MIXERS.get("pooling"), layouts={"tiny": layout})
    model: Any = build_unified(entry, "tiny", layout="authors")
    assert (model.config.dims, model.config.depths, model.config.mlp_ratios) == (
        (8, 16, 24, 32),
        (1, 2, 1, 1),
        (2, 2, 2, 2),
    )
    with pytest.raises(ConfigError, match=r"expected a scale of pooling with an authors' layout \(tiny\), got 'micro'"):
        build_unified(entry, "micro", layout="authors")
    with pytest.raises(ConfigError, match="expected layout matched or authors, got 'own'"):
        create_model("unified_pooling_micro[layout=own]")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unified_cross_window_attn_nano[stripes=1-2-7-9-9]", r"up to four stripes, .* got \(1, 2, 7, 9, 9\)"),
        ("unified_cross_window_attn_nano[stripes=2]", "up to four stripes, one for each stage, got 2"),
        ("unified_routing_attn_nano[topks=1-4-16-1-1]", "up to four topks"),
        ("unified_sr_attn_nano[ratios=8-4-2-1-1]", "four ratios, one for each stage"),
        ("unified_sr_attn_nano[ratios=8-4-2]", r"four ratios, one for each stage, got \(8, 4, 2\)"),
        ("unified_aggregated_attn_nano[ratios=8-4-2-1-1]", "four ratios"),
        ("unified_aggregated_attn_nano[windows=3-3-3-3-3]", "four windows"),
        ("unified_deformable_attn_nano[groups=1-2-4-8-8]", "four groups"),
        ("unified_deformable_attn_nano[strides=8-4-2-1-1]", "four strides"),
        ("unified_deformable_attn_nano[offset_kernels=9-7-5-3-3]", "four offset_kernels"),
        ("unified_dw_conv_nano[depths=2]", "four depths, one for each stage, got 2"),
    ],
)
def test_an_option_by_stage_has_no_more_numbers_than_there_are_stages(name: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        create_model(name)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize(
    ("model", "option"),
    [
        ("unified_ss2d_nano", "ssm_ratio"),
        ("unified_gated_conv_only_nano", "expansion"),
        ("unified_afno_nano", "threshold"),
        ("unified_dw_conv_nano", "layer_scale"),
        ("timm:resnet18", "drop_rate"),
        ("retinanet:unified_dw_conv_nano", "width"),
    ],
)
def test_a_number_that_is_not_finite_is_refused(model: str, option: str, number: str) -> None:
    expected = f"^expected a finite number for {option}, got {float(number)}; "
    with pytest.raises(ConfigError, match=expected):
        create_model(f"{model}[{option}={number}]")
    with pytest.raises(ConfigError, match=expected):
        create_model(model, **{option: float(number)})


@pytest.mark.parametrize("name", ["ss2d", "gated_conv_only", "afno"])
def test_a_config_has_finite_numbers_alone(name: str) -> None:
    entry = MIXERS.get(name)
    position = BlockPosition(stage=0, block=0, dim=64, resolution=(8, 8))
    config = entry.config_at(position)
    numbers = [field.name for field in dataclasses.fields(config) if isinstance(getattr(config, field.name), float)]
    assert numbers
    for option in numbers:
        with pytest.raises(ConfigError, match=f"expected a finite number for {option}, got inf"):
            dataclasses.replace(config, **{option: float("inf")})
        with pytest.raises(ConfigError, match=f"expected a finite number for {option}, got nan"):
            entry.build(position, **{option: float("nan")})


def test_what_an_option_may_not_be_called_is_what_the_builders_take() -> None:
    builders = [create_model, build_backbone, timm.create_model, *(ARCHITECTURES.get(n).build for n in ARCHITECTURES)]
    taken = {
        parameter.name
        for builder in builders
        for parameter in inspect.signature(builder).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    fields = {field.name for field in dataclasses.fields(UnifiedConfig)}
    assert taken | fields | set(TIMM_OPTIONS) | {"position"} <= set(RESERVED_OPTIONS)  # an older timm takes fewer


def test_an_option_that_could_not_reach_its_mixer_is_refused() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class DepthsConfig(MixerConfig):
        """Its field has the name of a network's."""

        depths: int = 1

    with pytest.raises(PluginError, match=r"expected option names of deep other than architecture, .*, got depths; "):
        register_mixer("deep", config=DepthsConfig)(Scaled)
    assert "deep" not in MIXERS
