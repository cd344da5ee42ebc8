"""Families of published weights: how a checkpoint's family and its number of classes are found, and new families."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stmbench.analyses.loaded_model import load_model
from stmbench.analyses.models import meta_model
from stmbench.architectures.catalog import ModelName, create_model
from stmbench.checkpoints import families, family_of, load_checkpoint
from stmbench.checkpoints.families import num_classes_of, published_file_stems
from stmbench.checkpoints.inspection import class_names
from stmbench.errors import CheckpointError
from stmbench.experiments.planning import Resources
from stmbench.registry import Registry
from tests.data.paths import GOLDEN

FOLDER = Path(families.__file__).parent
FAMILIES = {
    "unified": "STM-Evaluation",
    "container": "CONTAINER",
    "cotnet": "CoTNet",
    "cotnext": "CoTNet",
    "se": "CoTNet",
}
# our model: (golden file, the authors' name of the classifier)
MODELS = {
    "unified_dw_conv_micro": ("unified_convnext_micro", "head"),
    "unified_dcnv3_micro": ("unified_dcn_v3_micro", "head"),
    "container_v1_light": ("container_v1_light", "head"),
    "cotnet50": ("cotnet50", "fc"),
    "se_cotnetd_50": ("se_cotnetd_50", "fc"),
}


def authors(file: str, head: str, classes: int) -> dict[str, Tensor]:
    """The authors' names with a head of so many classes; without storage."""
    shapes = json.loads((GOLDEN / f"{file}.json").read_text())["shapes"]
    changed = {f"{head}.weight": [classes, *shapes[f"{head}.weight"][1:]], f"{head}.bias": [classes]}
    return {name: torch.zeros(()).expand(shape) for name, shape in (shapes | changed).items()}


NETWORKS = sorted({*GOLDEN.glob("*.json")} - {GOLDEN / "mixers.json"})


@pytest.mark.parametrize("file", NETWORKS, ids=lambda file: str(file.stem))
def test_the_family_of_every_published_file(file: Path) -> None:
    names = json.loads(file.read_text())["shapes"]
    title = FAMILIES[file.stem.partition("_")[0].partition("5")[0]]
    assert title in family_of(names).title
    assert title in family_of([f"module.model.{name}" for name in names]).title


@pytest.mark.parametrize(
    ("name", "title"),
    [("unified_sw_attn_nano", "stmbench"), ("timm:convnext_atto", "no known family"), ("timm:pvt_v2_b0", "no known")],
)
def test_what_is_no_authors_file(name: str, title: str) -> None:
    assert family_of(meta_model(name).state_dict()).title.startswith(title)


def test_uniformers_names_look_like_containers_and_are_not() -> None:
    assert family_of(["patch_embed1.proj.weight", "blocks1.0.conv1.weight"]).title.startswith("no known family")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.backbone."])
def test_ten_classes_of_every_family(name: str, prefix: str) -> None:
    state = {f"{prefix}{key}": value for key, value in authors(*MODELS[name], classes=10).items()}
    classifier = meta_model(name).default_cfg["classifier"]  # type: ignore[index, union-attr]
    assert num_classes_of(state, str(classifier)) == 10


@pytest.mark.parametrize("name", ["unified_sw_attn_nano", "timm:resnet18", "timm:vit_tiny_patch16_224"])
def test_ten_classes_under_the_models_own_names(name: str) -> None:
    model = meta_model(name, num_classes=10)
    assert num_classes_of(model.state_dict(), str(model.default_cfg["classifier"])) == 10  # type: ignore[index]


def test_a_cotnet_checkpoint_of_ten_classes_is_loaded(tmp_path: Path) -> None:
    torch.save({"state_dict": authors("cotnet50", "fc", 10)}, tmp_path / "ten.pth")
    subject = load_model("cotnet50", tmp_path / "ten.pth")
    assert subject.num_classes == 10
    with torch.inference_mode():
        assert subject.model(torch.zeros(1, 3, 64, 64)).shape == (1, 10)


def test_two_tensors_for_one_place_are_refused() -> None:
    state = authors("unified_convnext_micro", "head", 1000)
    state["head.fc.weight"] = torch.zeros(1000, 384)
    with pytest.raises(CheckpointError, match=r"one tensor for head\.fc\.weight"):
        load_checkpoint(create_model("unified_dw_conv_micro"), state)


def test_a_model_that_was_profiled_takes_a_file_without_counters() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("total_ops", torch.zeros(1))
    load_checkpoint(model, nn.Linear(2, 2).state_dict())


NEW_FAMILY = """
import re
from stmbench.checkpoints.families import Family, register_family

register_family(Family(
    name="tiny", title="Tiny (Nobody et al.)", recognised=re.compile(r"^lonely\\."),
    renamed=lambda name: None if name.endswith(".mask") else name.removeprefix("lonely."),
    reshaped=lambda name, value, shape: value.reshape(shape),
    class_keys=("species",),
    file_stem=lambda model: "tiny_" + model.scale if model.mixer == "identity" else None,
))
"""


def test_a_new_family_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is found in the folder; renaming, reshaping, class names and file names all follow from it."""
    families.families()  # loaded, so that the registry is whole again after this test
    (tmp_path / "tiny.py").write_text(NEW_FAMILY)
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
    monkeypatch.setattr(families, "FAMILIES", Registry("checkpoint family", load=families._load))
    for name in [name for name in sys.modules if name.startswith("stmbench.checkpoints.families.")]:
        monkeypatch.delitem(sys.modules, name)
    ones = {"module.lonely.weight": torch.ones(6), "lonely.bias": torch.ones(2), "lonely.mask": torch.zeros(9)}
    torch.save({"model": ones, "species": ["robin", "wren"]}, tmp_path / "tiny_nano.pth")
    assert family_of(ones).title == "Tiny (Nobody et al.)"
    model = nn.Linear(3, 2)
    load_checkpoint(model, tmp_path / "tiny_nano.pth")
    assert all(bool((parameter == 1).all()) for parameter in model.parameters())
    assert class_names(tmp_path / "tiny_nano.pth") == ("robin", "wren")
    assert Resources(weights=tmp_path).checkpoint("unified_identity_nano")[0] == str(tmp_path / "tiny_nano.pth")


def test_the_documented_family_works() -> None:
    page = (Path(__file__).parents[2] / "docs" / "checkpoints.md").read_text()
    code, *_ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    families.families()
    try:
        exec(code, {"__name__": "example"})
        found = family_of(["layers.0.token_mixer.weight"])
        assert found.title == "Example (Author et al.)"
        assert found.renamed("layers.3.norm.weight") == "stages.0.blocks.3.norm.weight"
        assert found.renamed("layers.3.attention_mask") is None
        assert found.reshaped("fc.weight", torch.ones(2, 3, 1, 1), (2, 3)).shape == (2, 3)
        assert "labels" in families.class_keys()
        assert "example-t" in published_file_stems(ModelName.parse("unified_dw_conv_tiny"))
    finally:
        families.FAMILIES.unregister("example")


def test_every_family_is_registered_under_the_name_of_its_file() -> None:
    assert families.FAMILIES.names() == sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
    assert [family.name for family in families.families()][-2:] == ["stmbench", "other"]


def test_the_authors_file_names() -> None:
    names = ["unified_dw_conv_tiny", "unified_identity_tiny", "container_dw_conv_tiny", "timm:resnet18", "cotnet50"]
    stems = [published_file_stems(ModelName.parse(name)) for name in names]
    assert stems == [["unified_convnext_tiny"], [], [], [], []]
