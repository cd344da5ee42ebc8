"""Weights load whole or not at all, from the forms they come in, and never as code."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stmbench.architectures.catalog import create_model
from stmbench.checkpoints import load_checkpoint
from stmbench.checkpoints.loading import state_hash
from stmbench.errors import CheckpointError
from tests.checkpoints.test_golden import filled
from tests.data.paths import GOLDEN

NAME = "unified_halo_attn_micro"


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """A published-like state dict of the micro halo model, in single precision."""
    shapes = json.loads((GOLDEN / "unified_halo_micro.json").read_text())["shapes"]
    return {key: value.float() for key, value in filled(shapes).items()}


@pytest.mark.parametrize("form", ["dict", "model", "model_ema", "state_dict", "module", ".pth", ".safetensors"])
def test_every_form_of_source(form: str, published: dict[str, torch.Tensor], tmp_path: Path) -> None:
    model, source = create_model(NAME), published
    given: Any = source
    if form in ("model", "model_ema", "state_dict"):
        given = {form: source, "epoch": 299}
    elif form == "module":
        given = {f"module.{key}": value for key, value in source.items()}
    elif form == ".pth":
        given = tmp_path / "weights.pth"
        torch.save({"model": source}, given)
    elif form == ".safetensors":
        given = tmp_path / "weights.safetensors"
        save_file({k: v.contiguous() for k, v in source.items()}, given)
    loaded = load_checkpoint(model, given)
    assert torch.equal(model.head.fc.weight, source["head.weight"])
    assert torch.equal(model.stages[0].blocks[0].mixer.kv.weight, source["stages.0.0.attn.kv.weight"].flatten(1))
    assert loaded.sha256 == state_hash(model.state_dict())
    assert str(tmp_path) not in loaded.label


def test_our_own_names_load_as_they_are(tmp_path: Path) -> None:
    one, other = create_model("unified_sw_attn_nano"), create_model("unified_sw_attn_nano")
    torch.save(one.state_dict(), tmp_path / "own.pth")
    loaded = load_checkpoint(other, tmp_path / "own.pth")
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert loaded.sha256 == state_hash(one.state_dict())


def test_a_missing_batch_counter_is_no_missing_weight(published: dict[str, torch.Tensor]) -> None:
    counters = "conv_head.1.num_batches_tracked"
    load_checkpoint(create_model(NAME), {k: v for k, v in published.items() if k != counters})
    assert counters in published


def broken(state: dict[str, torch.Tensor], how: str) -> dict[str, torch.Tensor]:
    """One defect in a copy of the state dict."""
    state = dict(state)
    if how == "missing":
        del state["stages.2.3.attn.proj.weight"]
    elif how == "unexpected":
        state["stages.9.0.attn.proj.weight"] = torch.zeros(2)
    elif how == "misshapen":
        state["head.weight"] = torch.zeros(10, 384)
    return state


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("missing", "1 missing (stages.2.blocks.3.mixer.proj.weight)"),
        ("unexpected", "1 unexpected (stages.9.0.attn.proj.weight)"),
        ("misshapen", "1 misshapen (head.fc.weight (10, 384) instead of (1000, 384))"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(
    how: str, named: str, published: dict[str, torch.Tensor]
) -> None:
    model = create_model(NAME)
    before = state_hash(model.state_dict())
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(model, broken(published, how))
    assert named in str(caught.value)
    assert state_hash(model.state_dict()) == before


def test_another_architectures_weights_are_refused() -> None:
    with pytest.raises(CheckpointError, match="unexpected"):
        load_checkpoint(create_model(NAME), create_model("timm:resnet18").state_dict())


def test_another_scales_weights_are_refused(published: dict[str, torch.Tensor]) -> None:
    with pytest.raises(CheckpointError, match="misshapen"):
        load_checkpoint(create_model("unified_halo_attn_tiny"), published)


class Code:
    """A pickle that runs a command when it is loaded carelessly."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('code ran')",))


def unsafe_files(folder: Path) -> dict[str, Path]:
    """Files that must not load, by what is wrong with them."""
    state = {"w": torch.zeros(300, 300)}
    torch.save(state, folder / "whole.pth")
    save_file(state, folder / "whole.safetensors")
    files = {"absent": folder / "absent.pth"}
    for suffix in (".pth", ".safetensors"):
        whole = (folder / f"whole{suffix}").read_bytes()
        files[f"truncated{suffix}"] = folder / f"truncated{suffix}"
        files[f"truncated{suffix}"].write_bytes(whole[: len(whole) // 2])
        files[f"empty{suffix}"] = folder / f"empty{suffix}"
        files[f"empty{suffix}"].write_bytes(b"")
    files["code"] = folder / "code.pth"
    torch.save({"model": Code()}, files["code"])
    files["bare pickle"] = folder / "bare.pth"
    files["bare pickle"].write_bytes(pickle.dumps(Code()))
    files["text"] = folder / "text.pth"
    files["text"].write_text("these are not the weights")
    files["a list"] = folder / "list.pth"
    torch.save([torch.zeros(2)], files["a list"])
    files["no tensors"] = folder / "none.pth"
    torch.save({"epoch": 3}, files["no tensors"])
    files["a folder"] = folder
    return files


def test_unsafe_and_broken_files_are_refused_in_one_line(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    for what, path in unsafe_files(tmp_path).items():
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(model, path)
        message = str(caught.value)
        assert "expected" in message, what
        assert "\n" not in message, what
