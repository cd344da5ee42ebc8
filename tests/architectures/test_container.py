"""The container and isotropic architectures: the paper's Table 2, any mixer, any size, and what they refuse."""

from __future__ import annotations

import re

import pytest
import timm
import torch

from stmbench.architectures.catalog import create_model
from stmbench.architectures.meta_device import on_meta_device
from stmbench.errors import ConfigError
from stmbench.measure.counting import count
from stmbench.mixers.base import MIXERS

# Table 2 of the paper, in millions of parameters
TABLE_2 = {
    "container_self_attn_tiny": 22.1,
    "container_conv3_tiny": 33.8,
    "container_group_conv3_tiny": 20.5,
    "container_dw_conv3_tiny": 18.7,
    "container_mh_dw_conv_tiny": 18.6,
    "container_mlp_tiny": 50.9,
    "container_mlp_lr_tiny": 36.5,
    "container_mh_mlp_lr_tiny": 41.6,
    "container_container_tiny[kernel=3]": 22.1,
    "container_container_tiny[kernel=3,light=True]": 20.0,
}
# as docs/architectures.md states them
EXACT = {
    "container_group_conv3_tiny": 20_831_592,
    "container_mlp_lr_tiny": 36_680_214,
    "container_mh_mlp_lr_tiny": 41_969_960,
    "container_container_tiny[light=True]": 20_633_646,
    "container_v1_light": 20_633_643,
    "isotropic_self_attn_tiny": 22_049_896,
    "isotropic_container_pam_tiny": 22_510_912,
}
MIXER_NAMES = [name for name in MIXERS if MIXERS.get(name).plugin_sha256 is None]


def parameters(name: str) -> int:
    with on_meta_device():
        return sum(p.numel() for p in create_model(name).parameters())


@pytest.mark.parametrize("name", TABLE_2)
def test_parameters_of_table_2(name: str) -> None:
    assert parameters(name) / 1e6 == pytest.approx(TABLE_2[name], rel=0.03)


@pytest.mark.parametrize("name", EXACT)
def test_parameters_as_documented(name: str) -> None:
    assert parameters(name) == EXACT[name]


def test_container_v1_light_costs_what_the_authors_model_does() -> None:
    with on_meta_device():
        model = create_model("container_v1_light")
    assert sum(model.macs(224, 224).values()) / 1e9 == pytest.approx(3.848, rel=0.005)


@pytest.mark.parametrize("mixer", MIXER_NAMES)
@pytest.mark.parametrize("architecture", ["container", "isotropic"])
def test_every_mixer_works_at_sizes_that_are_not_square(architecture: str, mixer: str) -> None:
    model = create_model(f"{architecture}_{mixer}_nano", num_classes=5).eval()
    with torch.inference_mode():
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, 5)
        assert model(torch.randn(1, 3, 40, 67)).isfinite().all()


@pytest.mark.parametrize("name", ["container_container_nano", "isotropic_container_pam_nano", "container_v1_light"])
def test_the_formulas_agree_with_the_counter_by_part(name: str) -> None:
    with on_meta_device():
        model = create_model(name)
    counts = count(model, (3, 64, 96), parts=model.parts)
    formulas = model.macs(64, 96)
    assert {part: counts.parts[part].macs for part in formulas} == formulas
    for path, module in model.named_modules():
        if not list(module.children()) and list(module.parameters()):
            matches = [part for part, pattern in model.parts.items() if re.fullmatch(pattern, path)]
            assert len(matches) == 1, (path, matches)


def test_features_of_timm() -> None:
    model = timm.create_model("container_dw_conv3_nano", features_only=True, out_indices=(1, 3), in_chans=1)
    assert [tuple(m.shape) for m in model(torch.randn(1, 1, 64, 96))] == [(1, 32, 8, 12), (1, 128, 2, 3)]
    isotropic = timm.create_model("isotropic_dw_conv3_nano", features_only=True)
    assert isotropic.feature_info.reduction() == [4, 4, 4, 4]


BAD = {
    "container_container_nano[alpha=0,beta=0]": "alpha or beta other than 0, got",
    "isotropic_container_pam_nano[alpha=0,beta=0]": "alpha or beta other than 0, got",
    "container_container_nano[alpha=much]": 'alpha "learned" or a number',
    "container_container_nano[alpha=0,gate=sigmoid]": "use gate free",
    "container_self_attn_nano[heads=3]": "heads that divide dim 16, got 3",
    "container_mh_dw_conv_nano[head_dim=5]": "divisible by head_dim, got 5",
    "container_group_conv3_nano[groups=3]": "groups that divide dim 16",
    "container_mlp_lr_nano[rank_share=2]": "0 < rank_share <= 1",
    "container_conv3_nano[dims=16-32]": "four dims",
    "container_conv3_nano[kernels=3]": "an option of container_conv3",
    "isotropic_conv3_nano[depth=5]": "a multiple of four",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_options_say_what_was_expected(name: str) -> None:
    with pytest.raises(ConfigError, match="expected") as caught:
        create_model(name)
    assert BAD[name] in str(caught.value)


@pytest.mark.parametrize("mixer", ["mlp", "mh_mlp", "mlp_lr", "mh_mlp_lr", "container_pam"])
def test_a_mixer_that_depends_on_n_resizes_or_refuses(mixer: str) -> None:
    assert MIXERS.get(mixer).depends_on_n
    fixed = create_model(f"isotropic_{mixer}_nano[resize=False]").eval()
    assert fixed(torch.randn(1, 3, 32, 32)).isfinite().all()
    with pytest.raises(ConfigError, match=r"a map of 8x8.*got 12x8.*img_size="):
        fixed(torch.randn(1, 3, 48, 32))


def test_a_resized_matrix_keeps_its_rows_sums() -> None:
    mixer = create_model("isotropic_mlp_nano").stages[0].blocks[0].mixer.mix.double()
    torch.nn.init.constant_(mixer.whole, 0.25)
    assert torch.allclose(mixer.matrix((5, 11)).sum(dim=2), torch.tensor(0.25 * 64).double())


def test_light_attends_in_the_last_stage_alone() -> None:
    model = create_model("container_container_nano[light=True]")
    assert [mixer.attends for _, _, mixer in model.mixers()] == [False] * 6 + [True] * 2
    names = model.no_weight_decay()
    assert "stages.3.blocks.0.mixer.shares.alpha" in names
    assert not any(name.startswith("stages.0") for name in names)


def test_special_cases_of_container() -> None:
    """alpha = 1, beta = 0 is self-attention; alpha = 0, beta = 1 a depthwise convolution (section 3.3)."""
    images = torch.randn(1, 3, 32, 32)
    for option, other in (("alpha=1,beta=0", "self_attn"), ("alpha=0,beta=1,kernel=3", "dw_conv3")):
        ours = create_model(f"container_container_nano[{option}]").eval()
        theirs = create_model(f"container_{other}_nano").eval()
        renamed = {
            name.replace(".proj_in.", ".qkv.").replace(".proj_out.", ".proj."): value
            for name, value in theirs.state_dict().items()
        }
        ours.load_state_dict(renamed)
        with torch.inference_mode():
            assert torch.allclose(ours(images), theirs(images), atol=1e-5)
