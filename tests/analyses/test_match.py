"""Mixers without a network of their own are rescaled to the others' budget, and nothing else is."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from stmbench.analyses.match import TOLERANCE, Match, match
from stmbench.analyses.match_widths import Widths
from stmbench.architectures.catalog import ModelName, create_model
from stmbench.errors import InputError, UnknownNameError, require
from stmbench.measure.counting import count
from stmbench.mixers.base import MIXERS, Mixer, MixerConfig, register_mixer
from stmbench.mixers.trials import channel_multiple

OURS = [f"unified_{mixer}_nano" for mixer in ("sw_attn", "dw_conv", "dcnv3")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PointConfig(MixerConfig):
    """Takes widths that are multiples of `grain`."""

    grain: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.dim % self.grain == 0, f"dim divisible by {self.grain}", self.dim)


class Point(Mixer):
    """One linear layer a token."""

    def __init__(self, config: PointConfig) -> None:
        super().__init__()
        self.config = config
        self.proj = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.proj(x)
        return mixed


class Triple(Point):
    """Three linear layers a token, as of attention without its output."""

    def __init__(self, config: PointConfig) -> None:
        super().__init__(config)
        self.proj = nn.Sequential(*(nn.Linear(config.dim, config.dim) for _ in range(3)))  # type: ignore[assignment]


class NeedsNumbers(Point):
    """Its constructor looks at a value, which the meta device does not have."""

    def __init__(self, config: PointConfig) -> None:
        super().__init__(config)
        self.start = float(self.proj.weight.detach().sum())


class Picky(Point):
    """Fails at some widths, in its forward pass and with an error that is not stmbench's."""

    refused: ClassVar[set[int]] = set()

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] in self.refused:
            raise RuntimeError(f"no kernel for {x.shape[-1]} channels")
        return super().forward(x)


class InTwenties(Point):
    """Twenty groups of channels, as its forward pass alone shows."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.unflatten(-1, (20, -1)).flatten(-2))


@pytest.fixture(autouse=True)
def _mixers() -> Iterator[None]:
    register_mixer("point", config=PointConfig)(Point)
    register_mixer("coarse", config=PointConfig, channel_multiple=12)(type("Coarse", (Point,), {}))
    register_mixer("two_dozen", config=PointConfig, channel_multiple=24)(Triple)
    register_mixer("number", config=PointConfig)(NeedsNumbers)
    register_mixer("twenties", config=PointConfig)(InTwenties)
    register_mixer("picky", config=PointConfig)(Picky)
    yield
    for name in ("point", "coarse", "two_dozen", "number", "twenties", "picky"):
        MIXERS.unregister(name)


def _cost(name: str, quantity: str) -> int:
    model: Any = create_model(name)
    counts = count(model, model.default_cfg["input_size"])
    return counts.macs if quantity == "macs" else counts.params


@pytest.mark.parametrize("quantity", ["macs", "params"])
def test_the_closest_width_to_the_median(quantity: str) -> None:
    names = ["unified_point_nano", *OURS]
    found = match(names, quantity)
    assert found.names[1:] == tuple(OURS)
    (matched,) = found.matches
    target = sorted(_cost(name, quantity) for name in OURS)[1]
    assert matched.target == target
    assert matched.references == 3
    assert matched.value == _cost(matched.name, quantity)
    assert abs(matched.deviation) <= TOLERANCE
    assert matched.model == "unified_point_nano"
    assert found.names[0] == matched.name
    assert str(matched).startswith(f"{matched.name}: ")


def test_no_neighbouring_width_is_closer() -> None:
    (matched,) = match(["unified_point_tiny", "unified_dw_conv_tiny"], "params").matches
    dims = ModelName.parse(matched.name).options["dims"]
    assert dims == tuple(dims[0] * ratio for ratio in (1, 2, 4, 8))
    for step in (-2, 2):
        other = "-".join(str((dims[0] + step) * ratio) for ratio in (1, 2, 4, 8))
        with torch.device("meta"):
            model = create_model(f"unified_point_tiny[dims={other}]")
        value = sum(p.numel() for p in model.parameters())
        assert abs(value - matched.target) >= abs(matched.value - matched.target)


def test_widths_are_multiples_that_the_mixer_accepts() -> None:
    (matched,) = match(["unified_coarse_tiny", "unified_dw_conv_tiny"], "params").matches
    dims = ModelName.parse(matched.name).options["dims"]
    assert all(dim % 12 == 0 for dim in dims)


def test_a_refused_width_is_passed_over() -> None:
    name = "unified_point_tiny[grain=6]"  # the registry does not say so: channel_multiple is 1
    (matched,) = match([name, "unified_dw_conv_tiny"], "params").matches
    options = ModelName.parse(matched.name).options
    assert options["grain"] == 6
    assert all(dim % 6 == 0 for dim in options["dims"])


def test_a_width_that_fails_is_passed_over_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = match(["unified_point_tiny", "unified_dw_conv_tiny"], "params").matches[0]
    dims = ModelName.parse(usual.name).options["dims"]
    monkeypatch.setattr(Picky, "refused", {dims[0]})
    found = match(["unified_picky_tiny", "unified_point_tiny", "unified_dw_conv_tiny"], "params")
    picky, point = found.matches
    assert point.name == usual.name  # the others are matched as they were
    assert abs(ModelName.parse(picky.name).options["dims"][0] - dims[0]) == 2  # the next width
    note, others = found.notes
    assert others == "unified_dw_conv_tiny has a network of its own: left as it is"
    width = "-".join(map(str, dims))
    assert note.startswith(f"unified_picky_tiny: passed over the widths {width}")
    assert note.endswith(f"which it cannot take: RuntimeError: no kernel for {dims[0]} channels")


def test_what_widths_are_multiples_of_is_found_by_trying() -> None:
    assert channel_multiple(MIXERS.get("twenties")) == 20
    assert channel_multiple(MIXERS.get("coarse")) == 12  # declared
    assert channel_multiple(MIXERS.get("point")) == 1
    assert channel_multiple(MIXERS.get("point"), grain=48) == 48
    assert channel_multiple(MIXERS.get("point"), grain=1000) == 1  # none of those that are tried


def test_a_constructor_that_needs_numbers() -> None:
    matched = match(["unified_number_nano", *OURS], "params").matches[0]
    assert matched.value == match(["unified_point_nano", *OURS], "params").matches[0].value


def test_models_with_networks_of_their_own_are_left_alone() -> None:
    found = match([*OURS, "timm:resnet18"], "macs")
    assert found.names == (*OURS, "timm:resnet18")
    assert found.matches == ()
    assert "nothing to match" in found.notes[0]


def test_dims_that_were_given_are_kept() -> None:
    name = "unified_point_nano[dims=16-32-64-128]"
    found = match([name, *OURS], "macs")
    assert found.names[0] == name
    assert found.matches == ()
    assert name in found.notes[0]


@pytest.mark.parametrize(
    ("names", "quantity", "message"),
    [
        (["unified_point_nano"], "macs", "a nano model with a network of its own"),
        (["unified_point_nano", "unified_dw_conv_micro", "timm:resnet18"], "macs", "a nano model"),
        (OURS, "flops", "macs or params"),
    ],
)
def test_what_cannot_be_matched(names: list[str], quantity: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        match(names, quantity)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "unified_point_nano[grain=64]",
            r"expected a width of .* within 5% of .* at the nearest one \(.*dims=64-64-64-",
        ),
        ("unified_point_nano[grain=100003]", "expected a width that point accepts, got none of the first 128"),
    ],
)
def test_a_model_that_no_width_matches_is_left_out_alone(name: str, reason: str) -> None:
    found = match([OURS[0], name, "unified_point_nano", *OURS[1:]], "params")
    assert list(found.left_out) == [name]
    assert re.match(reason, str(found.left_out[name]))
    (matched,) = found.matches
    assert found.names == (OURS[0], matched.name, *OURS[1:])


def test_models_with_networks_of_their_own_are_named_beside_matches() -> None:
    note = (
        "unified_sw_attn_nano, unified_dw_conv_nano and unified_dcnv3_nano have networks of their own: left as they are"
    )
    assert match(["unified_point_nano", *OURS], "params").notes == (note,)


def test_coarse_widths_are_rounded_stage_by_stage() -> None:
    """Of the multiples of 24 in proportion to 32-64-128-256 none costs within 5 % of the others."""
    found = match(["unified_two_dozen_micro", "unified_halo_attn_micro", "unified_dw_conv_micro"], "params")
    assert found.left_out == {}
    (matched,) = found.matches
    assert abs(matched.deviation) < 0.01
    dims = ModelName.parse(matched.name).options["dims"]
    assert all(dim % 24 == 0 for dim in dims)
    assert list(dims) == sorted(dims)


def _made_up(name: str) -> int:
    """A cost of stages and of transitions between them, by the widths in a model's name."""
    dims = ModelName.parse(name).options["dims"]
    stages = sum(a * d**2 for a, d in zip((9, 4, 2, 1), dims, strict=True))
    return stages + sum(map(math.prod, itertools.pairwise(dims)))


@pytest.mark.parametrize("share", [0.7, 0.9, 1.15, 1.3])
def test_nearby_widths_begin_with_the_nearest_of_all(share: float) -> None:
    base = "unified_two_dozen_micro"
    target = share * _made_up(f"{base}[dims=32-64-128-256]")
    widths = Widths(ModelName.parse(base), _made_up)
    finer = widths.in_proportion(target, anchor=-1)
    nearest = widths.nearby(finer, target)[0]
    scales = [dims[-1] / 256 for dims in finer]
    steps = [range(math.ceil(min(scales) * d / 24 - 1), int(max(scales) * d / 24 + 1) + 1) for d in (32, 64, 128, 256)]
    every = [tuple(24 * k for k in ks) for ks in itertools.product(*steps) if ks[0] > 0 and list(ks) == sorted(ks)]
    costs = [abs(_made_up(f"{base}[dims={'-'.join(map(str, dims))}]") - target) for dims in every]
    assert abs((widths.cost(nearest) or 0) - target) == min(costs)
    assert min(costs) <= min(abs((widths.cost(dims) or 0) - target) for dims in finer)


def test_unknown_models_are_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        match(["unified_pont_nano"], "macs")


def test_report_of_a_match() -> None:
    report = Match(model="m", name="n", quantity="params", value=9_700_000, target=10_000_000, references=1)
    assert str(report) == "n: 9.7 M parameters, -3.0% from the median of 1 other, 10 M parameters"
