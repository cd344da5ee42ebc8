"""What wrappers put before names, and what profilers leave beside them, does not keep weights from loading."""

from __future__ import annotations

import itertools
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from stmbench.architectures.catalog import create_model
from stmbench.checkpoints import load_checkpoint
from stmbench.checkpoints.selection import PREFIXES, plain
from stmbench.errors import CheckpointError

OWN = nn.Linear(3, 2).state_dict()
ONES = {name: torch.ones_like(value) for name, value in OWN.items()}


def loads(model: nn.Module, state: dict[str, Tensor]) -> bool:
    """Whether ones arrive in every parameter."""
    load_checkpoint(model, {"model": state})
    return all(bool((parameter == 1).all()) for parameter in model.parameters())


@pytest.mark.parametrize("first", PREFIXES)
def test_prefixes_in_any_order_and_repeated(first: str) -> None:
    for others in itertools.product(("", *PREFIXES), repeat=2):
        prefix = "".join((first, *others))
        assert loads(nn.Linear(3, 2), {f"{prefix}{name}": value for name, value in ONES.items()}), prefix


def test_prefixes_of_some_tensors_only() -> None:
    model = nn.Sequential(OrderedDict(stem=nn.Linear(3, 2), head=nn.Linear(2, 2)))
    state = {name: torch.ones_like(value) for name, value in model.state_dict().items()}
    assert loads(model, {(f"backbone.{n}" if n.startswith("stem") else f"module.{n}"): v for n, v in state.items()})


def test_compiled_and_wrapped_submodules() -> None:
    model = nn.Sequential(OrderedDict(stem=nn.Sequential(nn.Linear(3, 2))))
    for wrapper in ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"):
        ones = {f"stem.{wrapper}.0.{name}": value for name, value in ONES.items()}
        assert loads(model, ones), wrapper


def test_a_compiled_model_takes_a_plain_file_and_a_plain_one_a_compiled() -> None:
    assert loads(torch.compile(nn.Linear(3, 2)), ONES)  # type: ignore[arg-type]
    assert loads(nn.Linear(3, 2), {f"_orig_mod.{name}": value for name, value in ONES.items()})


def test_counters_of_profilers_are_no_tensors_of_the_model() -> None:
    counters = {"total_ops": torch.zeros(1), "total_params": torch.zeros(1)}
    nested = {f"module.{name}": value for name, value in counters.items()}
    deeper = {f"stem.0.{name}": value for name, value in counters.items()}
    for state in (ONES | counters, ONES | nested, ONES | deeper, ONES | {"n_averaged": torch.tensor(3)}):
        assert loads(nn.Linear(3, 2), state)


@pytest.mark.parametrize("names", [("encoder", "decoder"), ("model", "encoder"), ("encoder", "module")])
def test_a_models_own_names_may_look_like_prefixes(names: tuple[str, str]) -> None:
    model = nn.Sequential(OrderedDict((name, nn.Linear(2, 2)) for name in names))
    state = {name: torch.full_like(value, 1) for name, value in model.state_dict().items()}
    assert loads(model, state)


def test_two_tensors_of_one_plain_name_are_refused_unless_they_are_one() -> None:
    both = {**{f"model.{n}": v for n, v in ONES.items()}, **{f"encoder.{n}": v for n, v in ONES.items()}}
    assert loads(nn.Linear(3, 2), both)
    both["encoder.bias"] = torch.zeros(2)
    with pytest.raises(CheckpointError, match=r"one tensor called bias, got model\.bias and encoder\.bias"):
        load_checkpoint(nn.Linear(3, 2), both)


def test_no_name_of_our_models_and_few_of_timms_start_with_a_prefix() -> None:
    for name in ("unified_sw_attn_nano", "cotnet50", "container_v1_light", "timm:resnet18"):
        with torch.device("meta"):
            model = create_model(name)
        assert all(plain(tensor) == tensor for tensor in model.state_dict()), name
