"""`merged=true`: a model whose mixers are in the form they are deployed in."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stmbench import create_model
from stmbench.checkpoints import load_checkpoint
from stmbench.errors import ConfigError
from stmbench.measure.counting import count
from stmbench.mixers.ops.reparameterised import KernelBranches

NAME = "unified_dilated_rep_kernel_nano"


def _branches(model: nn.Module) -> int:
    return sum(isinstance(module, KernelBranches) for module in model.modules())


def test_weights_are_loaded_first_and_eval_merges_them() -> None:
    torch.manual_seed(0)
    trained, merged = create_model(NAME), create_model(f"{NAME}[merged=true]")
    for _ in range(2):
        trained(torch.randn(4, 3, 32, 32))  # running statistics that are not the initial ones
    load_checkpoint(merged, trained.state_dict())
    assert _branches(merged) == 8
    merged.eval()
    assert _branches(merged) == 0
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = trained.eval()(images)
        assert torch.allclose(merged(images), expected, atol=1e-4 * float(expected.abs().max()))
        assert torch.equal(merged.eval()(images), merged(images))  # once is enough


def test_it_is_counted_in_its_merged_form() -> None:
    merged, before = create_model(f"{NAME}[merged=true]").eval(), count(create_model(NAME), (3, 32, 32))
    counts = count(merged, (3, 32, 32))
    assert counts.traced_on == before.traced_on == "meta"
    assert counts.macs == sum(merged.macs(32, 32).values()) < before.macs  # type: ignore[operator]
    assert counts.params == sum(p.numel() for p in merged.parameters()) < before.params


def test_it_cannot_be_trained() -> None:
    model = create_model(f"{NAME}[merged=true]")
    assert not model.training
    with pytest.raises(ConfigError, match="a model to be trained") as error:
        model.train()
    assert "leave merged=true out" in str(error.value)


def test_a_mixer_without_a_merged_form_is_refused() -> None:
    with pytest.raises(ConfigError, match="a mixer with a merged form"):
        create_model("unified_dw_conv_nano[merged=true]")


def test_a_detectors_backbone_is_merged() -> None:
    name = f"retinanet:{NAME}[merged=true,min_size=64,max_size=64]"
    assert _branches(create_model(name).eval()) == 0
