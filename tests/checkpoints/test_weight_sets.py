"""A file that holds raw and averaged weights: which are taken, that it is said, and how to choose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from stmbench.analyses.eval.evaluation import Evaluation
from stmbench.analyses.images import ImageRequest
from stmbench.analyses.loaded_model import weights_label
from stmbench.architectures.catalog import create_model
from stmbench.checkpoints import Checkpoint, load_checkpoint
from stmbench.commands.options import checkpoints_of
from stmbench.errors import CheckpointError, ConfigError
from stmbench.tables import Store
from tests.commands import run

MODEL = "unified_dw_conv_nano"


def linear(value: float) -> nn.Linear:
    """A layer whose every weight is `value`: 1 is raw, 2 is the average."""
    layer = nn.Linear(3, 2)
    for parameter in layer.parameters():
        nn.init.constant_(parameter, value)
    return layer


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


RAW, EMA = linear(1).state_dict(), linear(2).state_dict()
OPTIMIZER = {"state": {0: {"exp_avg": torch.zeros(2, 3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
# form: (what the file holds, where the average is, where the raw weights are)
FORMS: dict[str, tuple[dict[str, Any], str, str]] = {
    "DeiT": ({"model": RAW, "optimizer": OPTIMIZER, "model_ema": EMA, "epoch": 299}, "model_ema", "model"),
    "timm": ({"arch": "x", "state_dict": RAW, "state_dict_ema": EMA}, "state_dict_ema", "state_dict"),
    "timm's ModelEma": ({"model": RAW, "model_ema": prefixed("module.", EMA)}, "model_ema", "model"),
    "averaged model": ({"model": RAW, "swa_model": AveragedModel(linear(2)).state_dict()}, "swa_model", "model"),
    "torchvision": ({"model": RAW, "model_ema": AveragedModel(linear(2)).state_dict()}, "model_ema", "model"),
    "ema": ({"model": RAW, "ema": EMA}, "ema", "model"),
    "ema in a wrapper": ({"model": RAW, "ema": {"module": EMA, "updates": 7}}, "ema.module", "model"),
    "ema_state_dict": ({"state_dict": RAW, "ema_state_dict": prefixed("module.", EMA)}, "ema_state_dict", "state_dict"),
    "mean teacher": ({"student": RAW, "teacher": EMA}, "teacher", "student"),
    "best accuracy as a tensor": ({"model": RAW, "best": torch.ones(1), "model_ema": EMA}, "model_ema", "model"),
    "submodules": (
        {"state_dict": {**prefixed("model.", RAW), **prefixed("model_ema.module.", EMA)}, "loops": {}},
        "state_dict.model_ema",
        "state_dict",
    ),
    "bare submodules": ({**RAW, **prefixed("ema.", EMA)}, "ema", ""),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_average_is_taken_unless_raw_weights_are_asked_for(form: str, tmp_path: Path) -> None:
    content, averaged, raw = FORMS[form]
    path = tmp_path / "mine.pth"
    torch.save(content, path)
    for given, value, key in (
        (path, 2.0, averaged),
        (Checkpoint(path=path, weights="ema"), 2.0, averaged),
        (Checkpoint(path=path, weights="raw"), 1.0, raw),
        (Checkpoint(path=path, key=raw), 1.0, raw),
    ):
        model = nn.Linear(3, 2)
        loaded = load_checkpoint(model, given)
        assert torch.equal(model.weight, torch.full((2, 3), value)), (form, given)
        assert loaded.source == f"mine.pth#{key}"
        assert loaded.remark is not None
        other = raw if key == averaged else averaged
        assert f"took the weights {key or 'the whole file'} ({'averaged' if value == 2 else 'raw'})" in loaded.remark
        assert f"also holds {other or 'the whole file'} " in loaded.remark


@pytest.mark.parametrize("content", [RAW, {"model": RAW, "epoch": 3}, AveragedModel(linear(1)).state_dict()])
def test_where_there_is_no_choice_nothing_is_said(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "mine.pth")
    model = nn.Linear(3, 2)
    loaded = load_checkpoint(model, tmp_path / "mine.pth")
    assert (loaded.source, loaded.remark) == ("mine.pth", None)
    assert torch.equal(model.bias, torch.ones(2))


def test_a_part_of_the_model_called_ema_is_no_average() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.ema = linear(1), nn.LayerNorm(2)

    assert load_checkpoint(Net(), {"model": Net().state_dict()}).remark is None


def test_what_is_not_there_or_ambiguous_is_refused() -> None:
    both = {"model": RAW, "model_ema": EMA}
    for content, given, words in (
        (both, {"key": "ema"}, "weights under 'ema', got model (raw), model_ema (averaged)"),
        ({"model": RAW}, {"weights": "ema"}, "expected averaged weights in the file, got model (raw)"),
        ({"model_ema": EMA}, {"weights": "raw"}, "expected raw weights in the file, got model_ema (averaged)"),
        ({**both, "ema_slow": EMA}, {}, "expected one set of weights, got model (raw), model_ema (averaged), ema_slow"),
        ({"model": RAW, "ema": {"shadow_params": [torch.ones(2)]}}, {}, "got a list under ema.shadow_params"),
    ):
        with pytest.raises(CheckpointError) as caught:
            read(content, given)
        assert words in str(caught.value)


def read(content: Any, given: Any) -> None:
    """Choose from a dict as from a file."""
    from stmbench.checkpoints.selection import choose_set, weight_sets

    choose_set(weight_sets(content), **given)


def test_a_checkpoint_as_text(tmp_path: Path) -> None:
    (tmp_path / "a#b.pth").touch()
    assert Checkpoint.parse("w.pth#model_ema") == Checkpoint(path=Path("w.pth"), key="model_ema")
    assert Checkpoint.parse("w.pth", weights="raw") == Checkpoint(path=Path("w.pth"), weights="raw")
    assert Checkpoint.parse(f"{tmp_path}/a#b.pth") == Checkpoint(path=tmp_path / "a#b.pth")
    for text in ("#model", "w.pth#"):
        with pytest.raises(ConfigError, match="FILE#KEY"):
            Checkpoint.parse(text)


def test_a_run_says_which_and_writes_the_key_into_the_rows(tmp_path: Path) -> None:
    state = create_model(MODEL, num_classes=10).state_dict()
    torch.save({"model": state, "model_ema": state, "epoch": 3}, tmp_path / "mine.pth")
    checkpoints = checkpoints_of([MODEL], [f"{MODEL}={tmp_path}/mine.pth"])
    request = ImageRequest(models=(MODEL,), checkpoints=checkpoints, dataset="digits", num_images=10)
    report = Evaluation(request, store := Store(tmp_path / "out")).run()
    assert report.failures == []
    assert {label.rpartition(":")[0] for label in store.read(report.keys)["weights"]} == {"mine.pth#model_ema"}
    assert [line for line in report.warnings if f"{MODEL}: mine.pth: took the weights model_ema (averaged)" in line]


def test_a_key_and_a_kind_of_weights_mean_the_same(tmp_path: Path) -> None:
    torch.save({"model": create_model(MODEL).state_dict(), "model_ema": RAW}, tmp_path / "mine.pth")
    by_key = checkpoints_of([MODEL], [f"{MODEL}={tmp_path}/mine.pth#model"])[MODEL]
    by_kind = checkpoints_of([MODEL], [f"{tmp_path}/mine.pth"], "raw")[MODEL]
    assert weights_label(MODEL, by_key, 0) == weights_label(MODEL, by_kind, 0)
    assert weights_label(MODEL, by_key, 0).startswith("mine.pth#model:")
    with pytest.raises(CheckpointError, match="missing"):
        weights_label(MODEL, checkpoints_of([MODEL], [f"{tmp_path}/mine.pth"])[MODEL], 0)


def test_refusals_on_the_command_line(tmp_path: Path) -> None:
    torch.save({"model": RAW}, tmp_path / "mine.pth")
    few = ("eval", "--models", MODEL, "--num-images", "10", "--out", str(tmp_path / "out"))
    assert "ema or raw" in run.refusal(*few, "--checkpoint", str(tmp_path / "mine.pth"), "--weights", "swa")
    assert "--checkpoint with --weights" in run.refusal(*few, "--weights", "raw")
    assert "weights under 'ema'" in run.refusal(*few, "--checkpoint", f"{tmp_path}/mine.pth#ema")
