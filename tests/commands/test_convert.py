"""`stmbench convert`: safetensors from what loads safely, and what a file holds without a model."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from stmbench.architectures.catalog import create_model
from stmbench.checkpoints import load_checkpoint
from tests.commands import run


def both(path: Path) -> tuple[nn.Linear, nn.Linear]:
    """Write raw and averaged weights of one layer; returns both layers."""
    raw, averaged = nn.Linear(3, 2), nn.Linear(3, 2)
    state = {f"module.{name}": value for name, value in raw.state_dict().items()}
    torch.save({"model": {**state, "module.total_ops": torch.zeros(1)}, "model_ema": averaged.state_dict()}, path)
    return raw, averaged


def test_the_copy_has_the_same_tensors_and_the_same_name_in_tables(tmp_path: Path) -> None:
    raw, averaged = both(tmp_path / "mine.pth")
    result = run.stmbench("convert", str(tmp_path / "mine.pth"))
    assert (result.exit_code, result.stdout) == (0, ""), result.output
    assert f"2 tensors of mine.pth#model_ema written to {tmp_path / 'mine.safetensors'}" in result.stderr
    assert "warning: mine.pth: took the weights model_ema (averaged); the file also holds model (raw)" in result.stderr
    copy = load_file(tmp_path / "mine.safetensors")
    assert copy.keys() == {"weight", "bias"}
    assert torch.equal(copy["weight"], averaged.weight)
    labels = {load_checkpoint(nn.Linear(3, 2), tmp_path / f"mine.{suffix}").label for suffix in ("pth", "safetensors")}
    assert len(labels) == 1
    for option in ((f"{tmp_path}/mine.pth", "--weights", "raw"), (f"{tmp_path}/mine.pth#model",)):
        out = tmp_path / f"raw{len(option)}.safetensors"
        assert run.stmbench("convert", *option, "--out", str(out)).exit_code == 0
        assert torch.equal(load_file(out)["weight"], raw.weight)
        with safe_open(out, framework="pt") as file:
            assert file.metadata()["source"] == "mine.pth#model"


def test_tied_and_strided_tensors_are_copied(tmp_path: Path) -> None:
    weight = torch.arange(6.0).view(2, 3)
    state = {"a": weight, "b": weight, "c": weight.T, "d": weight[:1].expand(4, 3)}
    torch.save(state, tmp_path / "mine.pth")
    assert run.stmbench("convert", str(tmp_path / "mine.pth")).exit_code == 0
    copy = load_file(tmp_path / "mine.safetensors")
    assert all(torch.equal(copy[name], value) for name, value in state.items())


def test_names_that_a_prefix_alone_tells_apart_are_kept(tmp_path: Path) -> None:
    state = {"model.w": torch.zeros(2), "encoder.w": torch.ones(2)}
    torch.save(state, tmp_path / "mine.pth")
    assert run.stmbench("convert", str(tmp_path / "mine.pth")).exit_code == 0
    assert load_file(tmp_path / "mine.safetensors").keys() == state.keys()


def test_inspect_shows_names_shapes_and_family(tmp_path: Path) -> None:
    both(tmp_path / "mine.pth")
    shown = run.stmbench("convert", str(tmp_path / "mine.pth"), "--inspect")
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("model: raw weights, 3 entries, 9 values; family: no known family")
    assert lines[1].split() == ["module.weight", "2x3", "float32"]
    assert lines[4].startswith("model_ema: averaged weights, 2 entries, 8 values")
    one = run.stmbench("convert", f"{tmp_path}/mine.pth#model", "--inspect", "--json")
    (weights,) = json.loads(one.stdout)
    assert weights["key"] == "model"
    assert weights["tensors"][1] == {"name": "module.bias", "shape": [2], "dtype": "float32"}
    assert list(tmp_path.iterdir()) == [tmp_path / "mine.pth"]


def test_inspect_shows_families_and_what_cannot_be_loaded(tmp_path: Path) -> None:
    torch.save(create_model("unified_sw_attn_nano").state_dict(), tmp_path / "ours.pth")
    shown = run.stmbench("convert", str(tmp_path / "ours.pth"), "--inspect").stdout.splitlines()
    assert shown[0].endswith("family: stmbench")
    torch.save({"w": torch.eye(2).to_sparse(), 3: torch.empty(2, device="meta"), "e\x1b": 7}, tmp_path / "odd.pth")
    shown = run.stmbench("convert", str(tmp_path / "odd.pth"), "--inspect").stdout.splitlines()
    assert [line.split() for line in shown[1:]] == [
        ["w", "2x2", "float32", "sparse"],
        ["3", "2", "float32", "meta"],
        ["e\\x1b", "int"],
    ]


def test_refusals(tmp_path: Path) -> None:
    both(tmp_path / "mine.pth")
    (tmp_path / "page.pth").write_text("<html>Sign in</html>")
    (tmp_path / "there.safetensors").touch()
    for args, words in (
        ((f"{tmp_path}/page.pth",), "an HTML page"),
        ((f"{tmp_path}/page.pth", "--inspect"), "an HTML page"),
        ((f"{tmp_path}/absent.pth",), "no file at"),
        ((f"{tmp_path}/mine.pth", "--out", f"{tmp_path}/there.safetensors"), "which exists; name another one with"),
        ((f"{tmp_path}/mine.pth", "--inspect", "--out", "x"), "--inspect or --out"),
        ((f"{tmp_path}/mine.pth", "--json"), "--json with --inspect"),
        ((f"{tmp_path}/mine.pth#swa", "--inspect"), "weights under 'swa'"),
        ((f"{tmp_path}/mine.pth", "--out", f"{tmp_path}/page.pth/x.safetensors"), "to write"),
    ):
        assert words in run.refusal("convert", *args), args
