"""What the contract offers to mixers beyond their forward pass: where they are, and the weights of their authors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stmbench.architectures.catalog import create_model
from stmbench.architectures.unified import build_unified
from stmbench.checkpoints import load_checkpoint
from stmbench.errors import CheckpointError, ConfigError
from stmbench.mixers.base import MIXERS, BlockPosition, Mixer, MixerConfig, Preset


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
