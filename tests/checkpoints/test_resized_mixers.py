"""What a mixer makes for one size of map is resized when loaded as in its forward pass; the rest is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stmbench.architectures.catalog import create_model
from stmbench.checkpoints import load_checkpoint
from stmbench.errors import CheckpointError
from stmbench.mixers import BUILTIN
from stmbench.mixers.base import MIXERS, BlockPosition

AS_IN_FORWARD = {"global_filter": "filter", "gated_conv_gf": "filter.spectrum", "random_mixing": "matrix",
                 "mlp": "mix.whole", "mh_mlp": "mix.whole", "container_pam": "static.whole"}  # fmt: skip
RANK_FOLLOWS_THE_MAP = {"mlp_lr", "mh_mlp_lr"}
EMPTY = {"pooling", "identity"}  # nothing to load


def built(name: str, size: tuple[int, int], **options: Any) -> Any:
    torch.manual_seed(0)
    return MIXERS.get(name).build(BlockPosition(stage=2, block=0, dim=64, resolution=size), **options).double().eval()


@pytest.mark.parametrize("name", AS_IN_FORWARD)
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (3, 4)])
def test_a_mixer_resized_when_loaded_is_the_one_that_resizes_itself(name: str, size: tuple[int, int]) -> None:
    small, other = built(name, (6, 6)), built(name, size)
    with pytest.raises(CheckpointError, match="resize its tables of positions with --resize-tables"):
        load_checkpoint(other, small.state_dict())
    loaded = load_checkpoint(other, small.state_dict(), resize_tables=True)
    assert loaded.remark == f"resized 1 of its tables of positions ({AS_IN_FORWARD[name]})"
    x = torch.randn(2, *size, 64, dtype=torch.float64)
    torch.testing.assert_close(other(x), small(x), rtol=0, atol=1e-12)


def test_a_matrix_of_low_rank_is_resized_where_the_rank_is_the_same() -> None:
    small, other = built("mlp_lr", (6, 6), rank_share=0.25), built("mlp_lr", (12, 12), rank_share=0.0625)
    load_checkpoint(other, small.state_dict(), resize_tables=True)
    x = torch.randn(1, 12, 12, 64, dtype=torch.float64)
    torch.testing.assert_close(other(x), small(x), rtol=0, atol=1e-12)


def test_a_bias_between_entries_is_the_same_function_where_the_old_entries_are_among_the_new() -> None:
    small, large = built("deformable_attn", (4, 4)), built("deformable_attn", (7, 7))
    load_checkpoint(large, small.state_dict(), resize_tables=True)
    x = torch.randn(1, 9, 9, 64, dtype=torch.float64)
    torch.testing.assert_close(large(x), small(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(BUILTIN) - RANK_FOLLOWS_THE_MAP - EMPTY))
def test_every_tensor_that_depends_on_the_map_is_resized(name: str) -> None:
    state = built(name, (8, 8)).state_dict()
    load_checkpoint(built(name, (14, 14)), state, resize_tables=True)


@pytest.mark.parametrize(
    ("name", "theirs", "ours", "options"),
    [("random_mixing", (5, 7), (6, 6), {}), ("mlp", (5, 7), (6, 6), {}), ("mlp_lr", (6, 6), (12, 12), {})],
)
def test_what_cannot_be_resized_is_refused_with_the_reason(
    name: str, theirs: tuple[int, int], ours: tuple[int, int], options: dict[str, Any]
) -> None:
    module = built(name, ours, **options)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(CheckpointError, match="more than the size of a square map or window, and cannot be resized"):
        load_checkpoint(module, built(name, theirs, **options).state_dict(), resize_tables=True)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_other_widths_are_refused() -> None:
    wider = MIXERS.get("global_filter").build(BlockPosition(stage=2, block=0, dim=32, resolution=(6, 6)))
    with pytest.raises(CheckpointError, match="cannot be resized"):
        load_checkpoint(wider, built("global_filter", (8, 8)).state_dict(), resize_tables=True)


def test_a_model_of_another_resolution_loads() -> None:
    state = create_model("unified_gated_conv_gf_nano").state_dict()
    loaded = load_checkpoint(create_model("unified_gated_conv_gf_nano[img_size=256]"), state, resize_tables=True)
    assert loaded.source == "state dict+resized"
