"""Models given as objects: what they are called, what is copied, how their images and logits are known."""

from __future__ import annotations

import copy
import runpy
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from stmbench.analyses.loaded_model import load_model
from stmbench.analyses.models import build_model, facts_of, meta_model, own_weights, plugin_hashes
from stmbench.architectures.catalog import ModelName, create_model
from stmbench.architectures.given_models import load_given, model_name_of, release_models, save_given
from stmbench.architectures.module_copies import GivenModel, feature_source, paths_of
from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import CheckpointError, ConfigError, InputError, UnitError
from tests.architectures.given_networks import InDict, InOutput, InTuple, Plain, TokenNetwork


def plain(seed: int = 0, kind: type[Plain] = Plain, **settings: Any) -> Plain:
    torch.manual_seed(seed)
    return kind(**settings)


def test_a_module_has_one_name_and_weights_classes_and_settings_make_another() -> None:
    name = model_name_of(plain())
    assert name == model_name_of(plain()) == model_name_of(model_name_of(plain()))
    assert name.startswith("module:Plain-")
    others = [
        model_name_of(plain(seed=1)),
        model_name_of(plain(stride=1)),
        model_name_of(plain(kind=InTuple)).replace("InTuple", "Plain"),
        model_name_of(plain(), mean=(0.5, 0.5, 0.5)),
        model_name_of(plain(), stage_modules=["stem"]),
        model_name_of(plain().double()),
    ]
    assert len({name, *others}) == 7
    assert len({own_weights(model_name_of(plain(stride=s)), 0) for s in (1, 2)}) == 1, "the weights are the same"


def test_a_buffer_and_one_single_weight_are_part_of_the_fingerprint() -> None:
    module = plain()
    name = model_name_of(module)
    module.norm.running_mean[3] += 1e-6
    changed = model_name_of(module)
    with torch.no_grad():
        module.fc.bias[0] += 1e-6
    assert len({name, changed, model_name_of(module)}) == 3


def test_the_mode_and_a_forward_pass_are_not(tmp_path: Path) -> None:
    module = plain().eval()
    name = model_name_of(module)
    module(torch.zeros(1, 3, 32, 32))
    assert model_name_of(module.train().requires_grad_(False)) == name


SCRIPT = """
import torch, sys
from torch import nn
from stmbench.architectures.given_models import model_name_of
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.arange(6.0)); self.names = {"b", "a", "c"}; self.act = nn.functional.gelu
    def forward(self, x):
        return x {sign} 1 if "a" in {"a", "b", "c"} else x
name = model_name_of(Net())
print(name)
"""


def test_other_processes_agree_and_a_change_of_code_is_seen(tmp_path: Path) -> None:
    names = []
    for sign in "+-":
        file = tmp_path / f"script{sign}.py"
        file.write_text(SCRIPT.replace("{sign}", sign))
        names.append(runpy.run_path(str(file))["name"])
    done = subprocess.run([sys.executable, str(tmp_path / "script+.py")], capture_output=True, text=True, check=True)
    assert names[0] == done.stdout.strip() != names[1]


def test_what_is_built_is_a_copy_and_the_module_is_left_alone() -> None:
    module = plain().train()
    before, hooks = copy.deepcopy(module.state_dict()), len(module._forward_hooks)
    name = model_name_of(module)
    images = torch.rand(2, 3, 32, 32)
    subject = load_model(name)
    built = build_model(name, seed=3, dtype="bf16", channels_last=True)
    assert module.training
    assert all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in module.parameters())
    assert "default_cfg" not in module.__dict__
    assert len(module._forward_hooks) == hooks
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert built.fc.weight.dtype == torch.bfloat16
    assert not {id(p) for p in module.parameters()} & {id(p) for p in subject.model.parameters()}
    assert torch.equal(subject.logits(images), module.eval()(subject.input(images)))


def test_weights_that_changed_after_naming_are_refused() -> None:
    module = plain()
    name = model_name_of(module)
    with torch.no_grad():
        module.fc.bias += 1
    with pytest.raises(InputError, match=r"got other weights than when it was named; give the module itself once more"):
        create_model(name)


def test_what_is_known_of_a_name() -> None:
    name = model_name_of(plain(), name="mine_v2.1")
    assert name.startswith("module:mine_v2.1-")
    facts = facts_of(name)
    assert (facts.architecture, facts.mixer, facts.scale, facts.entry) == ("module", None, None, None)
    subject = load_model(name, num_classes=3, seed=5)
    assert (subject.num_classes, subject.is_untrained, subject.weights) == (10, False, own_weights(name, 0))
    assert subject.weights.startswith("given:")
    assert plugin_hashes([name, "unified_dw_conv_nano"]).keys() == {name}
    assert plugin_hashes([name])[name].startswith(name[-8:])
    assert all(parameter.is_meta for parameter in meta_model(name).parameters())
    assert ModelName.parse(name).base == name


@pytest.mark.parametrize("kind", [Plain, InDict, InTuple, InOutput])
def test_logits_are_found_in_what_a_model_returns(kind: type[Plain]) -> None:
    images = torch.rand(2, 3, 32, 32)
    name = model_name_of(plain(kind=kind, classes=7))
    subject = load_model(name)
    assert subject.num_classes == 7
    wanted = Plain.forward(plain(kind=kind, classes=7).eval(), subject.input(images))
    assert torch.equal(subject.logits(images), wanted)
    assert bool(subject.model._forward_hooks) == (kind is not Plain), "no hook is paid for where none is needed"


def test_a_model_without_a_classifier_says_so() -> None:
    subject = load_model(model_name_of(nn.Sequential(nn.Conv2d(3, 4, 4, 4)), input_size=32))
    with pytest.raises(UnitError, match=r"expected logits \(B, classes\), got \(2, 4, 8, 8\); give a model with a"):
        subject.logits(torch.rand(2, 3, 32, 32))


def _of(module: nn.Module, **options: Any) -> Preprocessing:
    return Preprocessing.of(create_model(model_name_of(module, **options)))


class Processor:
    """As Hugging Face's image processors say it."""

    image_mean, image_std, size = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25], {"height": 48, "width": 64}


def test_how_images_are_wanted() -> None:
    assert _of(plain()) == Preprocessing(size=(224, 224)), "ImageNet's"
    said = _of(plain(), input_size=(32, 40), mean=(0, 0, 0), std=(1, 1, 1), interpolation="bilinear", crop_pct=0.9)
    assert said == Preprocessing(
        size=(32, 40), mean=(0.0,) * 3, std=(1.0,) * 3, interpolation="bilinear", crop_pct=0.9, crop_mode="center"
    )
    weights = torchvision.models.MobileNet_V3_Small_Weights.IMAGENET1K_V1
    of_torchvision = _of(plain(), transforms=weights.transforms())
    assert (of_torchvision.size, of_torchvision.crop_pct) == ((224, 224), 224 / 256)
    assert of_torchvision.interpolation == "bilinear"
    of_processor = _of(plain(), transforms=Processor())
    assert (of_processor.size, of_processor.mean, of_processor.crop_pct) == ((48, 64), (0.5,) * 3, 1.0)
    assert _of(TokenNetwork(side=32)).size == (32, 32), "Hugging Face's config"
    of_timm = _of(timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1))
    assert (of_timm.size, of_timm.mean) == ((32, 32), (0.5, 0.5, 0.5)), "timm's own"
    assert _of(plain(), transforms=Processor(), input_size=32).size == (32, 32), "what is said wins"


def test_a_timm_model_keeps_its_name_and_a_compiled_one_its_module() -> None:
    assert model_name_of(timm.create_model("resnet10t")).startswith("module:resnet10t-")
    assert model_name_of(torch.compile(plain())) == model_name_of(nn.DataParallel(plain())) == model_name_of(plain())


def test_nodes_of_a_graph_become_stages() -> None:
    torch.manual_seed(0)
    module = torchvision.models.resnet18(num_classes=5).eval()
    images = torch.rand(2, 3, 32, 32)
    model = create_model(model_name_of(module, return_nodes={"layer1.0.add": "a", "layer2": "b"}, input_size=32)).eval()
    source = feature_source(model)
    assert source is not None
    seen: list[Tensor] = []
    for path in source.stages:
        model.get_submodule(path).register_forward_hook(lambda _, __, output: seen.append(output))
    assert torch.equal(model(images), module(images))
    of_layer2 = module.layer2(module.layer1(module.maxpool(module.relu(module.bn1(module.conv1(images))))))
    assert [tuple(found.shape) for found in seen] == [(2, 64, 8, 8), (2, 128, 4, 4)]
    assert torch.equal(seen[1], of_layer2)
    assert model.train()(images).shape == (2, 5)


def test_paths_match_part_by_part() -> None:
    module = TokenNetwork(depth=3)
    assert paths_of(module, "layers.*.attention") == tuple(f"layers.{i}.attention" for i in range(3))
    assert paths_of(module, "layers.*") == ("layers.0", "layers.1", "layers.2")
    assert paths_of(module, "layers.[02].att*") == ("layers.0.attention", "layers.2.attention")


class Uncopied(Plain):
    """Keeps a lock, which has no copy."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = threading.Lock()


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        ("resnet", {"input_size": 32}, r"a module, to have options, got the name 'resnet'"),
        (7, {}, r"a torch.nn.Module, got int; give the module, or a model's name"),
        (Plain(), {"name": "a[b]"}, r"a name of letters, digits, . _ \+ and -, got 'a\[b\]'"),
        (Plain(), {"mean": (1, 2)}, r"a mean for each of three channels, got \(1, 2\)"),
        (Plain(), {"std": (1, 0, 1)}, r"a std above 0"),
        (Plain(), {"input_size": 0}, r"a side, or \(H, W\), got 0"),
        (Plain(), {"num_classes": 0}, r"a number of classes of at least 1"),
        (Plain(), {"stage_modules": "stem"}, r"a list of names in stage_modules, got 'stem'; put it into brackets"),
        (Plain(), {"stage_modules": ["steam"]}, r"a module of Plain, got 'steam'; did you mean stem"),
        (Plain(), {"stage_modules": ["stem"], "return_nodes": ["body"]}, r"stage_modules or return_nodes, got both"),
        (Plain(), {"mixer": "blocks.*.attn"}, r"got 'blocks\.\*\.attn', which no path of Plain matches; see named_mod"),
        (Plain(), {"transforms": object()}, r"image processor, got object; give input_size, mean and std instead"),
        (nn.LazyLinear(3), {}, r"a module with weights, got weight without values; load its weights, or run it"),
    ],
)
def test_refusals_at_the_naming(module: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        model_name_of(module, **options)


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (Uncopied(), {}, r"a module that copy.deepcopy can copy, got TypeError: cannot pickle .*; drop the"),
        (Plain(), {"return_nodes": ["stem.nothing"]}, r"a node of the graph of Plain, got 'stem.nothing'"),
        (TokenNetwork(), {"return_nodes": ["no_path"]}, r"torch.fx can trace|a node of the graph of TokenNetwork"),
    ],
)
def test_refusals_at_the_building(module: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        create_model(model_name_of(module, **options))
    assert "\n" not in str(caught.value)


def test_names_without_a_module_and_options_are_refused() -> None:
    name = model_name_of(plain())
    with pytest.raises(ConfigError, match=r"a module that is built already, got num_classes; leave them out"):
        create_model(name, num_classes=3)
    release_models([name, "unified_dw_conv_nano"])
    with pytest.raises(InputError, match=r"a model that is known here, got 'module:Plain-.*give the module itself"):
        create_model(name)


def test_a_checkpoint_replaces_the_modules_weights_in_the_copy_alone(tmp_path: Path) -> None:
    module, other = plain(), Plain()
    nn.init.constant_(other.fc.bias, 7.0)
    torch.save(other.state_dict(), tmp_path / "a.pt")
    name = model_name_of(module)
    loaded = load_model(name, tmp_path / "a.pt")
    assert loaded.model.state_dict()["fc.bias"].eq(7.0).all()
    assert loaded.weights.startswith("a.pt")
    assert not module.fc.bias.eq(7.0).any()
    torch.save(Plain(classes=3).state_dict(), tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match=r"fc\."):
        load_model(name, tmp_path / "b.pt")


def test_a_module_travels_to_another_process_unless_it_lives_in_main(tmp_path: Path) -> None:
    name = model_name_of(GivenModel(module=plain(), input_size=32))
    assert save_given(name, tmp_path / "a.pt")
    images = torch.rand(2, 3, 32, 32)
    wanted = create_model(name).eval()(images)
    release_models([name])
    assert load_given(tmp_path / "a.pt") == name
    assert torch.equal(create_model(name).eval()(images), wanted)

    module = plain()
    module.extra = lambda x: x  # type: ignore[assignment]
    assert not save_given(model_name_of(module), tmp_path / "b.pt")
    InDict.__module__, before = "__main__", InDict.__module__
    try:
        sys.modules["__main__"].InDict = InDict  # type: ignore[attr-defined]
        assert not save_given(model_name_of(plain(kind=InDict)), tmp_path / "c.pt")
    finally:
        InDict.__module__ = before
        del sys.modules["__main__"].InDict  # type: ignore[attr-defined]
