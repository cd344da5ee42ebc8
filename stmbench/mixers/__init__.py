"""Spatial token mixers: one mixer, one file, named as the mixer is.

Importing this package is cheap. The mixers (and torch with them) are imported at the first look into `MIXERS`.
"""

from __future__ import annotations

import importlib

BUILTIN = (
    *("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3"),
    *("self_attn", "conv3", "group_conv3", "dw_conv3", "mh_dw_conv", "mlp", "mh_mlp", "mlp_lr", "mh_mlp_lr"),
    *("container", "container_pam", "cot", "cot_static", "cot_dynamic", "cot_linear_fusion", "coxt"),
    *("pooling", "identity"),
)


def load_registered() -> None:
    """Import every built-in mixer's file, which registers it, and then what installed packages offer."""
    for name in BUILTIN:
        importlib.import_module(f"stmbench.mixers.{name}")
    importlib.import_module("stmbench.mixers.plugins").load_entry_points()
