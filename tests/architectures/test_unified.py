"""The unified architecture: sizes, designs, presets, names."""

from __future__ import annotations

import re

import pytest
import torch

from stmbench.architectures.base import ARCHITECTURES
from stmbench.architectures.catalog import ModelName, create_model, is_pattern, list_models
from stmbench.architectures.layers import resized_position
from stmbench.architectures.meta_device import on_meta_device
from stmbench.errors import InputError

MIXERS = ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")
SIZES = ((32, 32), (33, 47), (100, 37), (224, 320), (256, 256))
LARGE = ((512, 512), (1024, 1024))

# facts: counted on the authors' models, in millions where the paper's table says the same
PARAMETERS = {
    ("halo_attn", "small"): 52_831_336,
    ("sr_attn", "small"): 50_887_656,
    ("sw_attn", "base"): 93_388_576,
    ("dw_conv", "base"): 95_865_576,
    ("dcnv3", "base"): 97_465_192,
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mixer", MIXERS)
def test_any_size_of_at_least_32(mixer: str, size: tuple[int, int]) -> None:
    model = create_model(f"unified_{mixer}_micro", num_classes=10).eval()
    with torch.inference_mode():
        logits = model(torch.randn(1, 3, *size))
    assert logits.shape == (1, 10)
    assert logits.isfinite().all()


@pytest.mark.parametrize("size", LARGE)
@pytest.mark.parametrize("mixer", MIXERS)
def test_the_papers_large_sizes(mixer: str, size: tuple[int, int]) -> None:
    model = create_model(f"unified_{mixer}_nano", num_classes=10).eval()
    with torch.inference_mode():
        assert model(torch.randn(1, 3, *size)).isfinite().all()


@pytest.mark.parametrize(("mixer", "scale"), PARAMETERS)
def test_parameters_of_the_larger_scales(mixer: str, scale: str) -> None:
    with on_meta_device():
        model = create_model(f"unified_{mixer}_{scale}")
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[mixer, scale]


@pytest.mark.parametrize("mixer", MIXERS)
def test_nano_is_below_a_million_parameters(mixer: str) -> None:
    assert sum(p.numel() for p in create_model(f"unified_{mixer}_nano").parameters()) < 1_000_000


@pytest.mark.parametrize("mixer", MIXERS)
def test_parts_cover_every_parameter_once(mixer: str) -> None:
    model = create_model(f"unified_{mixer}_nano")
    for path, module in model.named_modules():
        if not list(module.children()) and list(module.parameters()):
            matches = [part for part, pattern in model.parts.items() if re.fullmatch(pattern, path)]
            assert len(matches) == 1, (path, matches)


@pytest.mark.parametrize("mixer", MIXERS)
def test_position_table_at_another_size_is_the_runtime_resize(mixer: str) -> None:
    """A model made for 64 pixels and one made for 32 agree at 64, once their tables are the same function."""
    small, large = (create_model(f"unified_{mixer}_nano", img_size=s).double().eval() for s in (32, 64))
    state = small.state_dict()
    for name, value in large.state_dict().items():
        if name.endswith(".position"):
            state[name] = resized_position(state[name], *value.shape[1:3])
    large.load_state_dict(state)
    images = torch.randn(1, 3, 64, 64).double()
    with torch.inference_mode():
        assert torch.allclose(small(images), large(images), rtol=1e-12, atol=1e-12)


# Table VI: (LayerNorms after the stages, LayerNorm after pooling, residual branches in a block)
DESIGNS = {"A": (4, 0, 2), "B": (4, 1, 2), "C": (0, 1, 2), "D": (4, 0, 1), "E": (0, 1, 1)}


@pytest.mark.parametrize("design", DESIGNS)
def test_designs_of_table_vi(design: str) -> None:
    model = create_model(f"unified_dw_conv_nano[design={design}]").eval()
    stage_norms, pool_norms, branches = DESIGNS[design]
    layer_norm = torch.nn.LayerNorm
    assert sum(isinstance(stage.norm, layer_norm) for stage in model.stages) == stage_norms
    assert isinstance(model.head.pool_norm, layer_norm) == bool(pool_norms)
    assert sum("branch" in name for name, _ in model.stages[0].blocks[0].named_children()) == branches
    assert model(torch.randn(1, 3, 32, 32)).isfinite().all()


# Table VII's cost column; the standard model is facts.md's `macs`, which counts every product
VARIANTS = {"standard": 9.75, "switch": 9.45, "1px": 9.32, "shift": 9.75}


@pytest.mark.parametrize("variant", VARIANTS)
def test_halo_variants_cost_what_table_vii_says(variant: str) -> None:
    with on_meta_device():
        model = create_model(f"unified_halo_attn_small[variant={variant}]")
    assert sum(model.macs(224, 224).values()) / 1e9 == pytest.approx(VARIANTS[variant], rel=2e-3)


NAMES = {
    "unified_halo_attn_tiny": {},
    "unified_halo_attn_tiny[design=C,halo=1]": {"design": "C", "halo": 1},
    "unified_sr_attn_micro[dims=32-64-160-256,drop_path_rate=0.1]": {
        "dims": (32, 64, 160, 256),
        "drop_path_rate": 0.1,
    },
}


@pytest.mark.parametrize("text", NAMES)
def test_names_carry_options_and_round_trip(text: str) -> None:
    name = ModelName.parse(text)
    assert name.options == NAMES[text]
    assert name.with_options() == text


BAD = {
    "unified_halo_attn_tiny[img_size=0]": "expected img_size >= 1, got 0",
    "unified_halo_atn_tiny": "did you mean halo_attn",
    "unified_halo_attn_tyni": "did you mean tiny",
    "unified_halo_attn_tiny[halo=1": "correct the brackets",
    "unified_halo_attn_tiny[hallo=1]": "got 'hallo'",
    "unified_halo_attn_tiny[design=Z]": "a design",
    "container_identity_nano[img_size=31]": "img_size >= 32, the network's limit",
    "unified_halo_attn_tiny[dims=96-192]": "four dims",
    "unified_halo_attn_tiny[head_dim=5]": "divisible by head_dim",
    "timm:resnet19": "did you mean resnet18",
    "resnet18": "expected a model",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_names_say_what_was_expected(name: str) -> None:
    with pytest.raises(InputError, match="expected") as caught:
        create_model(name)
    assert BAD[name] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("unified_dw_conv_nano", 1),
        ("cotnet_identity_nano", 1),
        ("isotropic_identity_nano", 4),
        ("container_identity_nano", 32),
    ],
)
def test_images_down_to_the_networks_own_limit(name: str, limit: int) -> None:
    model = create_model(name, num_classes=2).eval()
    assert model.smallest == limit
    for side in (limit, limit + 1, limit + 3):
        maps = model.forward_intermediates(torch.randn(1, 3, side, side + 3), intermediates_only=True)
        assert [tuple(found.shape[-2:]) for found in maps] == model.config.maps(side, side + 3)
    with pytest.raises(InputError, match=f"at least {limit}x{limit}, the network's limit, got {limit - 1}x64"):
        model(torch.randn(1, 3, limit - 1, 64))


@pytest.mark.parametrize("mixer", ["halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3", "mh_mlp", "container", "cot"])
def test_every_kind_of_mixer_takes_28_pixels(mixer: str) -> None:
    assert torch.isfinite(create_model(f"unified_{mixer}_nano").eval()(torch.randn(1, 3, 28, 28))).all()


def test_list_models() -> None:
    assert len(list_models()) >= 25
    assert list_models("unified_halo_attn_t*") == ["unified_halo_attn_tiny"]
    assert "timm:resnet18" in list_models("timm:resnet*")


def test_a_text_without_wildcards_is_searched_for() -> None:
    assert list_models("HALO_attn_t") == [f"{name}_halo_attn_tiny" for name in ARCHITECTURES]
    assert list_models("cotnet50") == ["cotnet50"]
    assert "timm:resnet18" in list_models("timm:net18")
    assert list_models("no such thing") == []


def test_a_mixer_has_one_title_in_every_architecture() -> None:
    titles = [ModelName.parse(f"{name}_halo_attn_tiny").title.split(" · ") for name in ARCHITECTURES]
    assert {(mixer, scale) for mixer, _, scale in titles} == {("Halo Attention", "tiny")}
    assert [architecture for _, architecture, _ in titles] == [ARCHITECTURES.get(name).title for name in ARCHITECTURES]
    assert ModelName.parse("cotnet50[deep=True]").title.startswith("Contextual Transformer Block · CoTNet")
    assert ModelName.parse("timm:resnet18").title == "resnet18 · timm"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unified_*_nano", True),
        ("unified_??_attn_nano", True),
        ("a[b=*]", False),
        ("a*[b=1]", True),
        ("cotnet50", False),
    ],
)
def test_wildcards_inside_brackets_make_no_pattern(name: str, expected: bool) -> None:
    assert is_pattern(name) == expected
