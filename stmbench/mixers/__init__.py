"""Spatial token mixers: one mixer, one file, named after the mixer; variants that share its class are in its file.

    halo_attn, sr_attn, sw_attn, self_attn   attention: windows with a halo, reduced keys, shifted windows, all tokens
    dw_conv, dw_conv3, mh_dw_conv, conv3     convolutions: depthwise, 3 x 3 depthwise, multi-head, 3 x 3 (and in groups)
    dcnv3                                    deformable convolution
    mlp                                      token MLPs: mlp, mh_mlp, mlp_lr, mh_mlp_lr
    container, container_pam                 attention and a convolution, attention and a static matrix
    cot                                      contextual: cot, cot_static, cot_dynamic, cot_linear_fusion, coxt
    inception_dw_conv                        depthwise convolutions of several shapes, each for a part of the channels
    gated_conv                               products of convolutions: gated_conv, gated_conv_gf
    gated_conv_only                          a control: a gated convolution without a state-space model
    ss2d, bidirectional_ssm                  state space models: four selective scans over the map, two of its rows
    ss2d                                     state space: four selective scans over the map
    rep_large_kernel                         31 x 31 kernels that are trained in two branches, and merged
    dilated_rep_kernel                       13 x 13 kernels that are trained with dilated ones, and merged
    bi_wkv                                   means with weights that decay along the raster
    (newer)
    linear_attn                              linear attention with a rotary position
    focal_modulation                         focal modulation: gated levels of context
    neighborhood_attn                        attention to the K x K tokens around, at a distance or not
    dcnv4                                    deformable convolution without normalised weights
    deformable_attn                          attention to points whose positions the map decides
    aggregated_attn                          attention to the tokens around and to a pooled map
    outlook_attn                             attention: each token says how the window around it is mixed
    involution                               a kernel for each position, made from its channels
    xca                                      cross-covariance attention, over channels
    cross_window_attn                        attention in vertical and horizontal stripes
    global_filter                            a learned factor for every frequency
    maxvit_attn                              attention in windows and in grids over the whole map, by turns
    afno                                     a small MLP on every frequency
    routing_attn                             attention within the regions that resemble one another
    pooling, identity                        controls: average pooling, no mixing
    pooling, identity, random_mixing         controls: average pooling, no mixing, a frozen random matrix
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

# module -> the mixers it registers; the order is that of listings and tables
MODULES = {
    **{name: (name,) for name in ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3", "self_attn")},
    "conv3": ("conv3", "group_conv3"),
    **{name: (name,) for name in ("dw_conv3", "mh_dw_conv")},
    "mlp": ("mlp", "mh_mlp", "mlp_lr", "mh_mlp_lr"),
    **{name: (name,) for name in ("container", "container_pam")},
    "cot": ("cot", "cot_static", "cot_dynamic", "cot_linear_fusion", "coxt"),
    # newer mixers
    "focal_modulation": ("focal_modulation",),
    "inception_dw_conv": ("inception_dw_conv",),
    "dcnv4": ("dcnv4",),
    "linear_attn": ("linear_attn",),
    "neighborhood_attn": ("neighborhood_attn",),
    "involution": ("involution",),
    "xca": ("xca",),
    "outlook_attn": ("outlook_attn",),
    "aggregated_attn": ("aggregated_attn",),
    "deformable_attn": ("deformable_attn",),
    "gated_conv_only": ("gated_conv_only",),
    "rep_large_kernel": ("rep_large_kernel",),
    "dilated_rep_kernel": ("dilated_rep_kernel",),
    "gated_conv": ("gated_conv", "gated_conv_gf"),
    "cross_window_attn": ("cross_window_attn",),
    "global_filter": ("global_filter",),
    "maxvit_attn": ("maxvit_attn",),
    "afno": ("afno",),
    "ss2d": ("ss2d",),
    "routing_attn": ("routing_attn",),
    "bidirectional_ssm": ("bidirectional_ssm",),
    "bi_wkv": ("bi_wkv",),
    # controls
    **{name: (name,) for name in ("pooling", "identity")},
    "random_mixing": ("random_mixing",),
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
