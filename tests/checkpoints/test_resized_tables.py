"""Position tables of another size: refused unless asked for, resized as the authors do, and recorded in the row."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import timm
import torch
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor

from stmbench.analyses.loaded_model import load_model
from stmbench.architectures.catalog import create_model
from stmbench.checkpoints import Checkpoint, load_checkpoint
from stmbench.checkpoints.families import resized_table
from stmbench.commands.options import checkpoints_of
from stmbench.errors import CheckpointError, ConfigError
from tests.data.paths import GOLDEN

TABLES = {
    # name: (the file's shape, ours)
    "stages.0.blocks.0.mixer.relative_bias": ((121, 3), (169, 3)),
    "layers.0.blocks.0.attn.relative_position_bias_table": ((169, 3), (529, 3)),
    "blocks.0.attn.rel_pos.relative_position_bias_table": ((29 * 29 + 3, 2), (27 * 27 + 3, 2)),
    "stages.0.blocks.0.attn.rel_pos.relative_position_bias_table": ((2, 13, 13), (2, 15, 15)),
    "stages.0.blocks.0.mixer.height_rel": ((19, 32), (25, 32)),
    "stages.0.blocks.0.mixer.width_rel": ((31, 32), (25, 32)),
    "blocks.0.attn.rel_pos_h": ((27, 4), (31, 4)),
    "stages.0.position": ((1, 56, 56, 8), (1, 64, 64, 8)),
    "pos_embed": ((1, 197, 8), (1, 257, 8)),
    "vit.pos_embed": ((1, 196, 8), (1, 100, 8)),
    "map.pos_embed": ((1, 8, 14, 14), (1, 8, 16, 16)),
    "last.pos_embed": ((1, 14, 14, 8), (1, 16, 12, 8)),
}


@pytest.mark.parametrize("name", TABLES)
def test_constant_table_stays_constant(name: str) -> None:
    theirs, ours = TABLES[name]
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        found = resized_table(name, torch.full(theirs, 0.5, dtype=dtype), ours)
        assert found is not None
        assert found.shape == ours
        assert torch.allclose(found.double(), torch.tensor(0.5, dtype=torch.float64), atol=1e-6)


def test_linear_table_keeps_its_end_values() -> None:
    line = torch.linspace(0, 1, 19)[:, None].expand(19, 32)
    found = resized_table("height_rel", line, (25, 32))
    assert found is not None
    assert torch.allclose(found[:, 0], torch.linspace(0, 1, 25), atol=1e-6)
    plane = torch.linspace(0, 1, 9)[None, :, None, None].expand(1, 9, 5, 2)
    found = resized_table("position", plane, (1, 17, 9, 2))
    assert found is not None
    assert torch.allclose(found[0, :, 3, 1], torch.linspace(0, 1, 17), atol=1e-6)


def cubic(old: int, new: int) -> Tensor:
    """(new, old) weights of cubic convolution (Keys 1981, a = -0.75), with the edge repeated beyond the edge."""
    weights = torch.zeros(new, old, dtype=torch.float64)
    for row in range(new):
        place = (row + 0.5) * old / new - 0.5
        first = math.floor(place) - 1
        for column in range(first, first + 4):
            x = abs(place - column)
            near, far = 1.25 * x**3 - 2.25 * x**2 + 1, -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)
            weights[row, min(max(column, 0), old - 1)] += near if x <= 1 else far
    return weights


@pytest.mark.parametrize(("old", "new"), [(13, 23), (13, 7), (7, 13)])
def test_bias_table_is_resized_bicubically(old: int, new: int) -> None:
    table = torch.randn(old * old, 2, dtype=torch.float64)
    found = resized_table("relative_bias", table, (new * new, 2))
    wanted = torch.einsum("ai,bj,ijh->abh", cubic(old, new), cubic(old, new), table.view(old, old, 2))
    assert found is not None
    assert torch.allclose(found.view(new, new, 2), wanted, atol=1e-12)


def test_extra_token_rows_are_kept() -> None:
    table = torch.randn(169 + 3, 2)
    found = resized_table("relative_position_bias_table", table, (121 + 3, 2))
    assert found is not None
    assert torch.equal(found[-3:], table[-3:])


@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [
        ("mixer.weight", (169, 3), (225, 3)),
        ("relative_bias", (169, 3), (225, 6)),
        ("relative_bias", (170, 3), (225, 3)),
        ("height_rel", (19, 32), (25, 16)),
        ("position", (1, 8, 8, 16), (1, 9, 9, 8)),
        ("pos_embed", (1, 197, 8), (1, 257, 16)),
        ("pos_embed", (1, 190, 8), (1, 257, 8)),
    ],
)
def test_other_tensors_are_not_resized(name: str, theirs: tuple[int, ...], ours: tuple[int, ...]) -> None:
    assert resized_table(name, torch.zeros(theirs), ours) is None


def test_embeddings_equal_those_of_timm() -> None:
    small, large = (timm.create_model("test_vit", img_size=size) for size in (96, 160))
    state = small.state_dict()
    wanted = checkpoint_filter_fn(dict(state), large)["pos_embed"]
    loaded = load_checkpoint(large, state, resize_tables=True)
    assert torch.allclose(large.pos_embed, wanted, atol=1e-6)
    assert loaded.source == "state dict+resized"
    assert loaded.remark == "resized 1 of its tables of positions (pos_embed)"


def published(name: str) -> Mapping[str, Tensor]:
    shapes = json.loads((GOLDEN / f"{name}.json").read_text())["shapes"]
    return {key: torch.zeros(shape) if shape else torch.tensor(0) for key, shape in shapes.items()}


@pytest.mark.parametrize(
    ("file", "name", "table"),
    [
        ("unified_swin_micro", "unified_sw_attn_micro[window=4]", "relative_bias"),
        ("unified_pvt_micro", "unified_sr_attn_micro[img_size=256]", "position"),
    ],
)
def test_published_checkpoints_are_resized_only_on_request(file: str, name: str, table: str) -> None:
    state, model = published(file), create_model(name)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(model, state)
    assert f"{table} (" in str(caught.value)
    assert "; resize its tables of positions with --resize-tables, or load it into" in str(caught.value)
    loaded = load_checkpoint(model, state, resize_tables=True)
    assert loaded.remark is not None
    assert table in loaded.remark


def test_matching_tables_are_unchanged() -> None:
    state = create_model("unified_sw_attn_nano").state_dict()
    loaded = load_checkpoint(create_model("unified_sw_attn_nano"), state, resize_tables=True)
    assert (loaded.source, loaded.remark) == ("state dict", None)


def test_resizing_is_recorded_in_the_row(tmp_path: Path) -> None:
    torch.save(create_model("unified_sw_attn_nano", num_classes=10).state_dict(), tmp_path / "mine.pth")
    model = "unified_sw_attn_nano[window=3]"
    subject = load_model(model, Checkpoint(path=tmp_path / "mine.pth", resize_tables=True))
    assert subject.weights.startswith("mine.pth+resized:")
    assert subject.remark is not None
    with pytest.raises(ConfigError, match="--checkpoint with --resize-tables, got --resize-tables alone"):
        checkpoints_of([model], [], None, True)
