"""Spatial token mixers: one mixer, one file, named as the mixer is.

Importing this package is cheap. The mixers (and torch with them) are imported at the first look into `MIXERS`.
"""

from __future__ import annotations

import importlib

BUILTIN = ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")


def load_registered() -> None:
    """Import every built-in mixer's file, which registers it, and then what installed packages offer."""
    for name in BUILTIN:
        importlib.import_module(f"stmbench.mixers.{name}")
    importlib.import_module("stmbench.mixers.plugins").load_entry_points()
