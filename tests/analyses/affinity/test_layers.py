"""What can be asked for: layers, positions, heads; and the mistakes one can make."""

from __future__ import annotations

import re
from typing import Any

import pytest

from stmbench.analyses.affinity.layers import Layer, check_choice, chosen_heads, chosen_layers, layers_of
from stmbench.analyses.affinity.options import AffinityConfig
from stmbench.architectures.catalog import create_model
from stmbench.errors import ConfigError, InputError

NAME = "unified_sw_attn_nano"  # two blocks in each of four stages, maps of 8, 4, 2 and 1
LAYER = Layer(number=3, stage=1, block=0, path="", height=4, width=4)


def layers() -> list[Layer]:
    return layers_of(create_model(NAME), NAME, (32, 48))


def test_layers_are_numbered_from_one_and_have_the_maps_of_the_image() -> None:
    found = layers()
    assert [layer.number for layer in found] == list(range(1, 9))
    assert [(layer.stage, layer.block) for layer in found[:3]] == [(0, 0), (0, 1), (1, 0)]
    assert [(layer.height, layer.width) for layer in found[::2]] == [(8, 12), (4, 6), (2, 3), (1, 2)]


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (("first", "last"), [1, 8]),
        (("all",), list(range(1, 9))),
        (("8", "2", "first"), [1, 2, 8]),
        (("last",), [8]),
        (("2.2", "4.1"), [4, 7]),
    ],
)
def test_layers_are_chosen_by_word_and_number(words: tuple[str, ...], numbers: list[int]) -> None:
    assert [layer.number for layer in chosen_layers(layers(), words, NAME)] == numbers


def test_the_papers_positions_stand_at_the_same_place_of_any_map() -> None:
    config = AffinityConfig()
    assert config.positions_on(14, 14) == (25, 50, 90, 100)
    assert config.positions_on(28, 28) == tuple((2 * (p // 14) + 1) * 28 + 2 * (p % 14) + 1 for p in (25, 50, 90, 100))
    assert config.positions_on(7, 7) == (0 * 7 + 5, 1 * 7 + 4, 3 * 7 + 3, 3 * 7 + 1)
    assert config.positions_on(1, 1) == (0, 0, 0, 0)
    assert AffinityConfig(positions=(3, 1)).positions_on(14, 14) == (3, 1)


def test_heads_are_chosen_by_word_and_number() -> None:
    assert chosen_heads(("mean",), 4, LAYER) == []
    assert chosen_heads(("mean", "2"), 4, LAYER) == [2]
    assert chosen_heads(("all",), 4, LAYER) == [0, 1, 2, 3]
    with pytest.raises(InputError, match="heads 0 to 3 in layer 3, got 4"):
        chosen_heads(("4",), 4, LAYER)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"layers": ("9",)}, "expected layers 1 to 8 of unified_sw_attn_nano, got 9"),
        ({"layers": ("2.3",)}, "expected layers 1.1 to 4.2 of unified_sw_attn_nano, got 2.3"),
        ({"positions": (64,)}, "expected positions 0 to 63 in layer 1 of unified_sw_attn_nano, whose map is 8 x 8"),
        ({"positions": (20,)}, "positions 0 to 0 in layer 8"),
        ({"positions": (20,), "layers": ("1",), "resolution": (16, 16)}, "positions 0 to 15 in layer 1"),
    ],
)
def test_what_a_model_has_not_is_refused_before_any_work(settings: dict[str, Any], complaint: str) -> None:
    resolution = settings.pop("resolution", None)
    with pytest.raises(InputError, match=complaint):
        check_choice(NAME, AffinityConfig(**settings), resolution)


def test_what_it_has_is_not_refused() -> None:
    check_choice(NAME, AffinityConfig(positions=(63,), layers=("1", "2")), None)
    check_choice(NAME, AffinityConfig(jacobian="block"), (64, 32))


def test_a_model_without_known_mixers_is_refused() -> None:
    with pytest.raises(InputError, match=r"a model of which the mixers are known, got timm:resnet18"):
        check_choice("timm:resnet18", AffinityConfig(), None)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"positions": ()}, "each position once, and at least one"),
        ({"positions": (3, 3)}, "each position once"),
        ({"positions": (-1,)}, "a position of at least 0, got -1"),
        ({"layers": ("0",)}, "layers as first, last, all, numbers from 1 or STAGE.BLOCK, got '0'"),
        ({"layers": ("middle",)}, "layers as first, last, all"),
        ({"layers": ("1.0",)}, "numbers from 1 or STAGE.BLOCK, got '1.0'"),
        ({"heads": ("-1",)}, "heads as mean, all or numbers from 0"),
        ({"heads": ()}, "each head once, and at least one"),
        ({"radii": (-1.0,)}, "radii of at least 0 tokens"),
        ({"radii": (float("nan"),)}, "radii of at least 0 tokens"),
        ({"jacobian": "network"}, "the Jacobian of a mixer or a block (or auto, or none), got 'network'"),
        ({"jacobian": "mixer", "heads": ("0",)}, "no heads with --jacobian: it has none"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        AffinityConfig(**settings)
