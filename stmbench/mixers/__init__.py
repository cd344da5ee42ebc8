"""Spatial token mixers: one mixer, one file, named after the mixer; variants that share its class are in its file.

    halo_attn, sr_attn, sw_attn, self_attn   attention: windows with a halo, reduced keys, shifted windows, all tokens
    dw_conv, dw_conv3, mh_dw_conv, conv3     convolutions: depthwise, 3 x 3 depthwise, multi-head, 3 x 3 (and in groups)
    dcnv3                                    deformable convolution
    mlp                                      token MLPs: mlp, mh_mlp, mlp_lr, mh_mlp_lr
    container, container_pam                 attention and a convolution, attention and a static matrix
    cot                                      contextual: cot, cot_static, cot_dynamic, cot_linear_fusion, coxt
    neighborhood_attn, cross_window_attn     attention to the K x K tokens around, and in stripes
    maxvit_attn, routing_attn                in windows and grids by turns, and within regions that resemble one another
    outlook_attn, deformable_attn            to windows that the token weighs, and to points that the map places
    aggregated_attn                          to the tokens around and to a pooled map
    linear_attn, xca, bi_wkv                 linear in the tokens: with rotary positions, over channels, with decay
    focal_modulation                         gated levels of context
    ss2d, bidirectional_ssm                  state space models: four selective scans over the map, two of its rows
    dcnv4, involution                        kernels of each position: deformable, and made from its channels
    rep_large_kernel, dilated_rep_kernel     large kernels that are trained in branches, and merged
    inception_dw_conv                        depthwise convolutions of several shapes, each for a part of the channels
    gated_conv                               products of convolutions: gated_conv, gated_conv_gf
    global_filter, afno                      a learned factor for every frequency, a small MLP on every frequency
    gated_conv_only, random_mixing           controls: a gated convolution without a scan, a frozen random matrix
    pooling, identity                        controls: average pooling, no mixing
    base         the contract: config, position, preset, registry entry, `register_mixer`
    presets      networks matched in cost, and those of authors
    admission    what is asked of a plug-in's mixer
    trials       what a mixer takes, declared or found by trying: sizes of maps, widths, dtypes, devices
    ops/         what several mixers share: attention, windows, bilinear samples, sums of tokens, index tables
    affinity/    the affinity contract A(X) and its dense and sparse forms
    conformance/ the checks that a mixer has to pass

Importing this package is cheap. The mixers (and torch with them) are imported at the first lookup in `MIXERS`.
"""

from __future__ import annotations

import importlib
from typing import Any

NEWER = (
    "neighborhood_attn",
    "cross_window_attn",
    "maxvit_attn",
    "routing_attn",
    "outlook_attn",
    "deformable_attn",
    "aggregated_attn",
    "linear_attn",
    "xca",
    "bi_wkv",
    "focal_modulation",
    "ss2d",
    "bidirectional_ssm",
    "dcnv4",
    "involution",
    "rep_large_kernel",
    "dilated_rep_kernel",
    "inception_dw_conv",
)
# module -> the mixers it registers; the order is that of listings and tables
MODULES = {
    **{name: (name,) for name in ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3", "self_attn")},
    "conv3": ("conv3", "group_conv3"),
    **{name: (name,) for name in ("dw_conv3", "mh_dw_conv")},
    "mlp": ("mlp", "mh_mlp", "mlp_lr", "mh_mlp_lr"),
    **{name: (name,) for name in ("container", "container_pam")},
    "cot": ("cot", "cot_static", "cot_dynamic", "cot_linear_fusion", "coxt"),
    **{name: (name,) for name in NEWER},
    "gated_conv": ("gated_conv", "gated_conv_gf"),
    **{name: (name,) for name in ("global_filter", "afno", "gated_conv_only", "random_mixing", "pooling", "identity")},
}
BUILTIN = tuple(name for names in MODULES.values() for name in names)


def load_registered() -> None:
    """Import every built-in mixer's module, which registers it, and then what installed packages offer."""
    for module in MODULES:
        importlib.import_module(f"stmbench.mixers.{module}")
    importlib.import_module("stmbench.mixers.base").MIXERS.arrange(BUILTIN)
    importlib.import_module("stmbench.plugins").load_entry_points()


def admit(entry: Any, sha256: str | None, *, try_out: bool) -> Any:
    """Check a plug-in's entry, see `stmbench.mixers.admission`."""
    return importlib.import_module("stmbench.mixers.admission").admit(entry, sha256, try_out=try_out)
