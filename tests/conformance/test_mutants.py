"""The conformance suite notices a flipped sign or comparison anywhere in a mixer, its helpers and its formula."""

from __future__ import annotations

import pytest

from stmbench.measure.counting import count
from stmbench.mixers import windows
from stmbench.mixers.base import MIXERS
from stmbench.mixers.conformance import CHECKS, Subject, numbers, weights
from tests.conformance.mutants import Mutant, mutants, mutated

# the module that is changed, and a mixer that runs it
EXAMINED = {
    "attention": "self_attn", "bilinear": "dcnv3", "container": "container", "container_pam": "container_pam",
    "contextual": "cot", "conv3": "conv3", "cot_linear_fusion": "cot_linear_fusion", "dcnv3": "dcnv3",
    "dw_conv": "dw_conv", "halo_attn": "halo_attn", "halo_windows": "halo_attn", "local_aggregation": "coxt",
    "mh_dw_conv": "mh_dw_conv", "pooling": "pooling", "self_attn": "self_attn", "sr_attn": "sr_attn",
    "static_matrix": "mh_mlp_lr", "static_mixer": "mlp", "sw_attn": "sw_attn", "windows": "sw_attn",
}  # fmt: skip
CHECKED = ("reference", "macs", "affinity")  # in this order, until one fails
# flipped operators that change nothing, and why
SURVIVE = {
    "bilinear: _can_gather: value.device.type != 'cpu'": "the other implementation gives the same",
    "bilinear: _can_gather: weights.shape[:-1].numel() >= _ROWS": "the other implementation gives the same",
    "bilinear: _can_gather: +1": "the size at which an index overflows",
    "bilinear: softmax_of_few: +1": "runs off the CPU only",
    "bilinear: softmax_of_few: few <= 16": "the padding is for speed",
    "bilinear: softmax_of_few: logits.device.type == 'cpu'": "the padding is for speed",
    "bilinear: softmax_of_few: 16 + few": "more padding than is fast",
    "halo_windows: key_places: +1": "the weights of what is outside are exactly zero",
    "static_matrix: StaticMatrix._check: size == self.config.resolution": "asked where resizing is off only",
    "static_matrix: StaticMatrix.matrix: size != self.config.resolution": "a table resized to its own size is itself",
    "sw_attn: _separation: region[0][:, None] * 2 - region[1][None, :]": "four labels, as different as before",
}


def survives(mutant: Mutant) -> bool:
    subject = Subject(entry=MIXERS.get(EXAMINED[mutant.module]), count=lambda module, size: count(module, size).macs)
    with mutated(mutant):
        for name in CHECKED:
            try:
                CHECKS[name].function(subject)
            except Exception:  # whatever the fault leads to
                return False
    return True


@pytest.mark.parametrize("module", EXAMINED)
def test_no_flipped_operator_passes(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "SIZES", ((9, 14), (14, 9)))
    monkeypatch.setattr(numbers, "PLACES", ((2, 1),))
    monkeypatch.setattr(windows, "MOST_WINDOWS", 3)  # so that attention goes in several calls
    monkeypatch.setattr(weights, "SIZES", ((9, 11),))
    monkeypatch.setattr(weights, "PLACES", ((2, 1),))
    found = {str(mutant) for mutant in mutants(module) if survives(mutant)}
    assert found == {text for text in SURVIVE if text.startswith(f"{module}:")}
