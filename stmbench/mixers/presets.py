"""Networks for mixers that bring none of their own: matched in cost, or laid out as their authors'."""

from __future__ import annotations

from typing import Any, Final

from stmbench.mixers.base import FourSizes, Preset

NANO: Final = (16, 32, 64, 128)
MICRO: Final = (32, 64, 128, 256)
TINY: Final = (96, 192, 384, 768)


def nano(**options: Any) -> dict[str, Preset]:
    """A preset for nano alone, with the default mixer's widths and depths; at other scales the mixer is put into the
    default network.

    Args:
        **options: the mixer's, such as `head_dim` 16, the width of the first stage, where heads are wider elsewhere.
    """
    return {"nano": Preset(dims=NANO, depths=(2, 2, 2, 2), norm_eps=1e-5, options=options)}


def matched(
    micro_depths: FourSizes,
    tiny_depths: FourSizes,
    *,
    micro_dims: FourSizes = MICRO,
    tiny_dims: FourSizes = TINY,
    **at_nano: Any,
) -> dict[str, Preset]:
    """Presets at micro and tiny that cost what the default mixer's models do, within 3 % of their multiply-adds.

    Args:
        micro_depths, tiny_depths: blocks of the four stages.
        micro_dims, tiny_dims: their widths; by default those of the default mixer.
        **at_nano: the mixer's options at nano, which has the default mixer's widths and depths.
    """
    return {
        **nano(**at_nano),
        "micro": Preset(dims=micro_dims, depths=micro_depths, norm_eps=1e-5),
        "tiny": Preset(dims=tiny_dims, depths=tiny_depths, norm_eps=1e-5, drop_path=0.2),
    }


def tiny_layout(
    dims: FourSizes, depths: FourSizes, mlp_ratios: tuple[float, float, float, float] = (4, 4, 4, 4), **options: Any
) -> dict[str, Preset]:
    """The widths, depths, MLPs and options of the authors' own tiny network, in the unified architecture."""
    return {
        "tiny": Preset(dims=dims, depths=depths, mlp_ratios=mlp_ratios, norm_eps=1e-5, drop_path=0.2, options=options)
    }
