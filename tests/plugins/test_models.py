"""A user's own timm model: both of its names, the hash of its file, commands and checks, and refusals in one line."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest
import timm

from stmbench import plugins
from stmbench.analyses.models import plugin_hashes
from stmbench.architectures.catalog import ModelName, create_model, list_models
from stmbench.errors import PluginError, UnknownNameError
from tests.commands import run

MODEL = """
from timm.models import register_model
from torch import nn

class Net(nn.Module):
    default_cfg = {"input_size": (3, 32, 32)}

    def __init__(self, num_classes=10):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 4, 4), nn.Linear(4, num_classes)

    def forward(self, x):
        return self.head(self.stem(x).mean((2, 3)))

@register_model
def my_net(pretrained=False, num_classes=10, **options):
    return Net(num_classes)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my_model.py"
    path.write_text(MODEL)
    return path


def test_both_names_mean_the_model(file: Path) -> None:
    plugin = plugins.load_plugin(file)
    sha256 = hashlib.sha256(MODEL.encode()).hexdigest()
    assert (plugin.registered, plugin.sha256) == ({"timm model": ("my_net",)}, sha256)
    assert create_model("my_net").head.out_features == 10
    assert create_model("timm:my_net[num_classes=3]").head.out_features == 3
    assert ModelName.parse("my_net[num_classes=3]").text == "timm:my_net[num_classes=3]"
    assert list_models("my_*") == list_models("my_net") == ["timm:my_net"]
    assert plugin_hashes(["my_net", "timm:my_net", "unified_dw_conv_nano", "timm:resnet18"]) == {"timm:my_net": sha256}


def test_it_is_gone_with_its_plugin(file: Path) -> None:
    plugins.load_plugin(file)
    plugins.unload_plugins()
    assert not timm.is_model("my_net")
    with pytest.raises(UnknownNameError):
        ModelName.parse("my_net")


@pytest.mark.parametrize("name", ["resnet18", "unified_dw_conv_nano"])
def test_a_name_that_is_taken_is_refused(file: Path, name: str) -> None:
    create_model("unified_dw_conv_nano")  # ours are registered with timm by then
    before = timm.models.model_entrypoint(name)
    file.write_text(MODEL.replace("my_net", name))
    with pytest.raises(PluginError, match=f"a model name that is free, got .*'{name}' is registered already; rename"):
        plugins.load_plugin(file)
    assert timm.models.model_entrypoint(name) is before
    assert timm.models.get_pretrained_cfg(name) is not None
    assert timm.create_model(name, num_classes=2) is not None


def test_a_file_that_fails_after_registering_leaves_no_model(file: Path) -> None:
    file.write_text(MODEL + "\n1 / 0\n")
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        plugins.load_plugin(file)
    assert not timm.is_model("my_net")
    assert plugins.timm_models() == []
    assert [name for name in sys.modules if name.startswith("stmbench_plugin_my_model")] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["my_net", "timm:my_net"])
def test_its_rows_have_one_name_and_the_hash(file: Path, tmp_path: Path, name: str) -> None:
    from stmbench.tables import Store

    out = tmp_path / "store"
    chosen = ["--models", name, "--no-timing", "--resolution", "32", "--plugin", str(file), "--out", str(out), "--json"]
    result = run.stmbench("profile", *chosen)
    assert result.exit_code == 0, result.output
    assert {row["model"] for row in json.loads(result.stdout)} == {"timm:my_net"}
    store = Store(out)
    hashes = [store.metadata(key)["plugins"] for key in store.keys()]  # noqa: SIM118  a store is no mapping
    assert hashes
    assert all(plugins == {"timm:my_net": hashlib.sha256(MODEL.encode()).hexdigest()} for plugins in hashes)


def test_the_check_of_a_model(file: Path) -> None:
    result = run.stmbench("check", str(file))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("my_net (timm model)\n")
    assert "3 passed, 0 failed, 0 skipped" in result.stdout


@pytest.mark.parametrize(
    ("old", "new", "check", "piece"),
    [
        ("Net(num_classes)\n", "Net(wrong=1)\n", "builds", "unexpected keyword argument"),
        (".mean((2, 3))", "", "classifies", "RuntimeError"),
        ("return self.head(", "return 0 * self.head(", "", ""),
        ("return self.head(self.stem(x)", "return self.head(self.stem(x - x.mean(0))", "repeats", "logits differ"),
    ],
)
def test_a_broken_model_fails_in_words(file: Path, old: str, new: str, check: str, piece: str) -> None:
    assert old in MODEL
    file.write_text(MODEL.replace(old, new))
    result = run.stmbench("check", str(file), "--json")
    failed = [row for row in json.loads(result.stdout) if row["status"] == "failed"]
    assert [row["check"] for row in failed] == ([check] if check else [])
    assert all(piece in row["found"] for row in failed)
    assert result.exit_code == (1 if check else 0)


def test_an_entry_point(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    from stmbench.plugins import loading

    monkeypatch.syspath_prepend(file.parent)
    point = importlib.metadata.EntryPoint(name="mine", value="my_model", group="stmbench.models")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] if group == point.group else [])
    monkeypatch.setattr(loading, "_INSTALLED", {})
    plugins.load_plugins()
    assert plugins.timm_models() == ["my_net"]
    assert plugin_hashes(["my_net"]) == {"timm:my_net": hashlib.sha256(MODEL.encode()).hexdigest()}
    monkeypatch.delitem(sys.modules, "my_model")
