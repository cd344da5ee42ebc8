"""The conformance suite notices a flipped sign or comparison anywhere in a mixer, its helpers and its formula."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import pytest

from stmbench.measure.counting import count
from stmbench.mixers.base import MIXERS
from stmbench.mixers.conformance import CHECKS, MixerUnderTest, affinity, forward
from stmbench.mixers.conformance.check import NotApplicableError
from stmbench.mixers.ops import windows
from tests.checkpoints import test_resized_mixers as loading
from tests.conformance.mutants import Mutant, mutants, mutated

# the module that is changed, and a mixer that runs it
EXAMINED = {
    "container": "container", "container_pam": "container_pam", "conv3": "conv3", "cot": "cot", "dcnv3": "dcnv3",
    "dw_conv": "dw_conv", "halo_attn": "halo_attn", "mh_dw_conv": "mh_dw_conv", "mlp": "mlp", "pooling": "pooling",
    "self_attn": "self_attn", "sr_attn": "sr_attn", "sw_attn": "sw_attn", "ops.attention": "self_attn",
    "ops.bilinear": "dcnv3", "ops.contextual": "cot", "ops.token_sums": "mh_mlp_lr", "ops.neighbourhood_sums": "coxt",
    "ops.windows": "sw_attn", "ops.fourier": "global_filter",
    # newer mixers, by module
    "random_mixing": "random_mixing",
    "afno": "afno",
    "global_filter": "global_filter",
    "xca": "xca",
    "focal_modulation": "focal_modulation",
    "inception_dw_conv": "inception_dw_conv",
    "dcnv4": "dcnv4",
    "linear_attn": "linear_attn",
    "neighborhood_attn": "neighborhood_attn",
    "involution": "involution",
    "outlook_attn": "outlook_attn",
    "aggregated_attn": "aggregated_attn",
    "deformable_attn": "deformable_attn",
    "gated_conv": "gated_conv",
    "rep_large_kernel": "rep_large_kernel",
    "dilated_rep_kernel": "dilated_rep_kernel",
    "ops.reparameterised": "rep_large_kernel",
    "gated_conv_only": "gated_conv_only",
    "cross_window_attn": "cross_window_attn",
    "maxvit_attn": "maxvit_attn",
    "ss2d": "ss2d",
    "routing_attn": "routing_attn",
    "bidirectional_ssm": "bidirectional_ssm",
    "bi_wkv": "bi_wkv",
}  # fmt: skip
OWN = {
    "MixingWeights": "container",
    "StaticMatrix": "mh_mlp_lr",
    "_resized_rows": "mh_mlp_lr",
    "require_resolution": "mh_mlp_lr",
    "CotStatic": "cot_static",
    "CotLinearFusion": "cot_linear_fusion",
    "group_sums": "involution",
    "group_products": "aggregated_attn",
    "neighbour_index": "aggregated_attn",
    "DisplacementBias": "aggregated_attn",
    "_distances": "aggregated_attn",
    "_log_displacements": "aggregated_attn",
    "_displacement_index": "aggregated_attn",
    "point_samples": "deformable_attn",
    "displacement_samples": "deformable_attn",
    "_last_token": "deformable_attn",
    "_grid_samples": "deformable_attn",
    "_GroupSums": "involution",
    **dict.fromkeys(
        ("relative_bias", "relative_window_attention", "halo_tokens", "_unfolded", "_HaloTokens"), "halo_attn"
    ),
    "gathered_group_sums": "involution",
    "GlobalLocalFilter": "gated_conv_gf",
}  # classes and functions that another mixer runs
# options with which more of a mixer runs
OPTIONS: dict[str, dict[str, Any]] = {
    "routing_attn": {"regions": 3, "topks": (1, 1, 2)},
    "outlook_attn": {"stride": 2, "value_bias": True},
    "ss2d": {"variant": "v0", "d_state": 2, "ssm_ratio": 1.5},
    "dcnv4": {"dw_kernel": 3, "remove_center": True, "center_feature_scale": True, "offset_scale": 0.5},
    "focal_modulation": {"normalize": True, "norm": True},
    "xca": {"lpi": True},
    "afno": {"fraction": 1 / 16},
}
# sizes that are tried instead: a side of several tiles and one that is padded; two that are padded unlike
SIZES = {
    "neighborhood_attn": ((9, 31),),
    "cross_window_attn": ((9, 10),),
    "routing_attn": ((10, 8),),
    "aggregated_attn": ((5, 8), (8, 3)),
    "deformable_attn": ((5, 8), (8, 3)),
}
RESIZING = ("resized_tensor", "square_map")  # functions that run when weights are loaded, and never in a mixer
CHECKED = ("reference", "merge", "affinity", "macs")  # one that a function is named after first, until one fails
# flipped operators that change nothing, and why
SURVIVE = {
    "rep_large_kernel: BranchedKernels.affinity: kernel.shape[1] // 2 - max(height, width) - 1": "they find nothing",
    "ops.attention: MixingWeights.forward: 1 + alpha": "runs with gate sigmoid only",
    **{
        f"ops.attention: _distances: {flipped}": "more displacements than anything looks up"
        for flipped in ("2 * (size - 1) + middles[0]", "size + 1", "middle % 2 != middles[0] % 2")
    },
    "ops.bilinear: weighted_samples: +1": "the size at which an index overflows",
    "ops.bilinear: weighted_samples: weights.shape[:-1].numel() >= _ROWS": "the other implementation gives the same",
    "ops.bilinear: softmax_of_few: +1": "runs off the CPU only",
    "ops.bilinear: softmax_of_few: few <= 16": "the padding is for speed",
    "ops.bilinear: softmax_of_few: logits.device.type == 'cpu'": "the padding is for speed",
    "ops.bilinear: softmax_of_few: 16 + few": "more padding than is fast",
    "bi_wkv: BiWKV._mean: k + k.amax(dim=1, keepdim=True).detach()": "scales all weights alike",
    "bi_wkv: BiWKV._mean: part + top": "scales all parts alike",
    "aggregated_attn: AggregatedAttn._weights: +1": "runs in the last stage only",
    "aggregated_attn: AggregatedAttn._weights: queries @ keys.transpose(2, 3) - bias": "runs in the last stage only",
    "ops.reparameterised: KernelBranches.forward: total - branch": "runs in training, which has a test of its own",
    **{
        f"inception_dw_conv: _is_faster_by_onednn: {flipped}": "the other way gives the same"
        for flipped in ("x.dtype != torch.float32", "max(x.shape[1:3]) >= WIDE")
    },
    "halo_attn: key_positions: +1": "the weights of what is outside are exactly zero",
    "linear_attn: _rotated: first * cosine + second * sine": "runs when compiled only",
    "linear_attn: _rotated: first * sine - second * cosine": "runs when compiled only",
    "ops.windows: _unfolded: reach + before": "more padding, which no window reaches",
    **{f"ops.windows: relative_window_attention: {flipped}": "runs with kernels only" for flipped in ("+0.5", "+1")},
    **{
        f"ops.contextual: layers_of: {flipped}": "the plain form, and the kernel, give the same"
        for flipped in (
            "+1",
            "x.numel() >= ENOUGH",
            "halves <= 1",
            "x.shape[:-1].numel() >= POSITIONS",
            "len(context) == 3",
        )
    },
    **{
        f"ops.contextual: SplitAttention._is_one_pass: {flipped}": "the plain form, and the kernels, give the same"
        for flipped in ("dynamic.ndim == 4", "dynamic.numel() >= ENOUGH_TO_MIX", "dynamic.shape != static.shape")
    },
    "ops.contextual: SplitAttention.forward: shares.shape != (*dynamic.shape[:2], 2, 1, 1)": "runs with kernels only",
    **{
        f"ops.windows: _shares: {flipped}": "runs with kernels only"
        for flipped in ("bias.ndim != 4", "bias.shape[2:] != (q.shape[2], k.shape[2])")
    },
    **{
        f"ops.windows: _shares: {flipped}": "runs in single precision only"
        for flipped in (
            "+torch.inf",
            "logits >= least",
            "+1",
            "logits.detach().amax(dim=-1, keepdim=True) + FAR[logits.dtype]",
        )
    },
    "ops.windows: window_attention: q.device.type != 'cpu'": "the other implementation gives the same",
    "ops.token_sums: require_resolution: size == made_for": "asked where resizing is off only",
    "ops.fourier: from_spectrum: max(height, width) <= SMALL": "the library gives the same",
    "ops.fourier: spectrum: max(height, width) <= SMALL": "the library gives the same",
    "random_mixing: RandomMixing.forward: len(matrix) > FEW": "the other product gives the same",
    "ops.token_sums: StaticMatrix.matrix: size != self.config.resolution": "a table resized to its own size",
    "ops.token_sums: StaticMatrix.resized_tensor: name != 'right'": "the other factor is divided",
    "cross_window_attn: CrossWindowAttn.forward: attended - lepe": "runs in the last stage only",
    "neighborhood_attn: _tile_keys: tile + kernel + 1": "more keys, none of them a neighbour",
    "neighborhood_attn: _tile: length > 2 * kernel": "tiles of another size",
    "ops.neighbourhood_sums: group_sums: weights.numel() >= 2 ** 31": "the other implementation gives the same",
    "routing_attn: RoutingAttn._attended: topk * FEW < regions": "the other implementation gives the same",
    "sw_attn: _separation: region[0][:, None] * 2 - region[1][None, :]": "four labels, as different as before",
}


def loads(mutant: Mutant) -> bool:
    """Whether mixers that are resized when loaded are still those that resize themselves."""
    with mutated(mutant):
        try:
            for name in loading.AS_IN_FORWARD:
                loading.test_a_mixer_resized_when_loaded_is_the_one_that_resizes_itself(name, (7, 9))
            loading.test_a_matrix_of_low_rank_is_resized_where_the_rank_is_the_same()
        except Exception:  # whatever the fault leads to
            return False
    return True


def survives(mutant: Mutant) -> bool:
    if mutant.function.rpartition(".")[2] in RESIZING:
        return loads(mutant)
    name = OWN.get(mutant.owner or mutant.function, EXAMINED[mutant.module])
    entry = MIXERS.get(name)
    entry = dataclasses.replace(entry, config_at=functools.partial(entry.config_at, **OPTIONS.get(name, {})))
    mixer = MixerUnderTest(entry=entry, count=lambda module, size: count(module, size).macs)
    with mutated(mutant):
        for check in sorted(CHECKED, key=lambda name: name not in mutant.function):  # counting takes longest
            try:
                CHECKS[check].function(mixer)
            except NotApplicableError:
                continue
            except Exception:  # whatever the fault leads to
                return False
    return True


@pytest.mark.parametrize("module", EXAMINED)
def test_no_flipped_operator_passes(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STMBENCH_KERNELS", "off")  # these have tests of their own
    monkeypatch.setattr(forward, "SIZES", SIZES.get(module, ((9, 14), (14, 9))))
    monkeypatch.setattr(forward, "PLACES", ((2, 1),))
    monkeypatch.setattr(windows, "MOST_WINDOWS", 3)  # so that attention goes in several calls
    monkeypatch.setattr(affinity, "SIZES", SIZES.get(module, ((9, 11),)))
    monkeypatch.setattr(affinity, "PLACES", ((2, 1),))
    survivors = {str(mutant) for mutant in mutants(module) if survives(mutant)}
    assert survivors == {text for text in SURVIVE if text.startswith(f"{module}:")}
