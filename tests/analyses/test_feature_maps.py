"""The map after each block, into and out of each mixer."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

from stmbench.analyses.feature_maps import Probe, as_map, look_at, probes_of
from stmbench.architectures.catalog import create_model
from stmbench.architectures.given_models import model_name_of
from stmbench.architectures.module_copies import GivenModel
from stmbench.errors import UnitError
from tests.architectures.given_networks import Plain


def _maps(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    look_at(model.eval(), probes_of(model), images, lambda probe, maps: found.__setitem__(probe.name, maps))
    return found


def test_maps_of_our_models_are_those_after_blocks_and_around_mixers() -> None:
    model, images = create_model("unified_dw_conv_nano").eval(), torch.rand(2, 3, 64, 64)
    found = _maps(model, images)
    assert list(found)[:4] == ["mixer_input_0_0", "mixer_output_0_0", "block_0_0", "mixer_input_0_1"]
    assert len(found) == 3 * 8
    with torch.no_grad():
        last = model.forward_intermediates(images, intermediates_only=True)[1]
        block = model.get_submodule("stages.1.blocks.0")
        mixed = block.mixer(found["mixer_input_1_0"].permute(0, 2, 3, 1))
    torch.testing.assert_close(found["block_1_1"], last.float(), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(found["mixer_output_1_0"].permute(0, 2, 3, 1), mixed)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_blocks_of_timm_models_of_every_layout() -> None:
    images = torch.rand(1, 3, 64, 64)
    resnet = _maps(timm.create_model("resnet18"), images)
    assert {name: tuple(maps.shape[1:]) for name, maps in resnet.items()} == {
        f"block_{stage}_{block}": (64 * 2**stage, 16 // 2**stage, 16 // 2**stage)
        for stage in range(4)
        for block in range(2)
    }
    vit = timm.create_model("vit_tiny_patch16_224", img_size=64).eval()
    found = _maps(vit, images)
    assert [tuple(maps.shape) for maps in found.values()] == [(1, 192, 4, 4)] * 12
    with torch.no_grad():
        wanted = vit.forward_intermediates(images, indices=[3], intermediates_only=True)[0]
    torch.testing.assert_close(found["block_3_0"], wanted)
    swin = _maps(timm.create_model("swin_tiny_patch4_window7_224", img_size=64), images)
    assert [tuple(swin[f"block_{stage}_0"].shape[1:]) for stage in (0, 3)] == [(96, 16, 16), (768, 2, 2)]


def test_what_is_no_map_is_refused() -> None:
    ours, others = (Probe(stage=0, block=0, place="block", module="x", channels=channels) for channels in (None, 4))
    model = nn.Identity()
    with pytest.raises(UnitError, match="two spatial axes after x"):
        as_map(torch.rand(2, 5), ours, model)
    with pytest.raises(UnitError, match="tokens of a square map, got 5"):
        as_map(torch.rand(2, 5, 4), others, model)
    assert as_map(torch.rand(2, 3, 5, 4), ours, model).shape == (2, 4, 3, 5)
    assert as_map(torch.rand(2, 4, 3, 5), others, model).shape == (2, 4, 3, 5)
    assert as_map(torch.rand(2, 3, 5, 4), others, model).shape == (2, 4, 3, 5)


def test_a_model_that_names_no_maps_is_refused() -> None:
    with pytest.raises(UnitError, match="timm's feature_info"):
        probes_of(nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Flatten()))


def test_a_pass_gives_the_models_output() -> None:
    model, images = create_model("unified_identity_nano").eval(), torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(look_at(model, [], images, lambda *_: None), model(images))


@pytest.mark.parametrize("stages", [(), ("body", "norm")])
def test_a_module_of_the_caller_has_the_maps_of_its_stages(stages: tuple[str, ...]) -> None:
    given = GivenModel(module=Plain(stride=1), input_size=32, stage_modules=stages)
    model, images = create_model(model_name_of(given)), torch.rand(2, 3, 32, 32)
    found = _maps(model, images)
    first = (4, 8, 8) if not stages else (8, 4, 4)
    assert {name: tuple(maps.shape[1:]) for name, maps in found.items()} == {"block_0_0": first, "block_1_0": (8, 4, 4)}
