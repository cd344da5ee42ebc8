"""Names and shapes of the unified models' published weights (Hu et al., STM-Evaluation), in terms of ours."""

from __future__ import annotations

import math
import re

import torch.nn.functional as F
from torch import Tensor

from stmbench.architectures.stages import resized_position

RECOGNISED = re.compile(r"^downsample_layers\.0\.stem\.")  # a key that only these files have
# constants that the authors register as buffers; ours are computed from the map at hand
SKIPPED = re.compile(r"(relative_position_index|attn_mask)$")

_BLOCK = r"^stages\.(\d+)\.(\d+)\."
_OUR_BLOCK = r"stages.\1.blocks.\2."
_RULES: tuple[tuple[str, str], ...] = (
    (r"^downsample_layers\.0\.stem\.0\.", "stem.conv1."),
    (r"^downsample_layers\.0\.stem\.1\.", "stem.norm1."),
    (r"^downsample_layers\.0\.stem\.3\.", "stem.conv2."),
    (r"^downsample_layers\.0\.stem\.4\.", "stem.norm2."),
    (r"^downsample_layers\.1\.", "transitions.0."),
    (r"^downsample_layers\.2\.", "transitions.1."),
    (r"^downsample_layers\.3\.", "transitions.2."),
    (r"^(transitions\.\d)\.reduction\.0\.", r"\1.conv."),
    (r"^(transitions\.\d)\.reduction\.1\.", r"\1.norm."),
    (r"^stage_norms\.(\d)\.", r"stages.\1.norm."),
    (r"^head\.", "head.fc."),
    (r"^conv_head\.0\.", "head.conv."),
    (r"^conv_head\.1\.", "head.norm."),
    (r"^avg_head\.1\.", "head.pool_norm."),
    (r"^stages\.(\d)\.0\.pos_embed$", r"stages.\1.position"),
    (_BLOCK, _OUR_BLOCK),
    (r"\.gamma_?([12])$", r".branch\1.scale"),
    # dw_conv
    (r"\.dw_norm\.", ".norm1."),
    (r"\.pw_norm\.", ".norm2."),
    (r"\.pwconv([12])\.", r".mlp.fc\1."),
    (r"\.dw_input_proj\.", ".mixer.proj_in."),
    (r"\.dwconv\.", ".mixer.conv."),
    (r"\.dw_out_proj\.", ".mixer.proj_out."),
    # the others keep their mixer under `attn`
    (r"\.attn\.", ".mixer."),
    (r"\.mixer\.pos_embed\.", ".mixer."),  # halo_attn
    (r"\.relative_position_bias_table$", ".relative_bias"),  # sw_attn
    (r"\.mixer\.sr\.", ".mixer.reduction."),  # sr_attn
    (r"\.mixer\.dw_conv\.0\.", ".mixer.conv."),  # dcnv3
    (r"\.mixer\.dw_conv\.1\.norm\.", ".mixer.norm."),
    (r"\.sampling_offsets\.", ".offsets."),
    (r"\.attention_weights\.", ".weights."),
    (r"\.value_proj\.", ".proj_in."),
    (r"\.output_proj\.", ".proj_out."),
)


def renamed(key: str) -> str | None:
    """Our name of one of the authors' tensors; None for those that we do not keep."""
    if SKIPPED.search(key):
        return None
    for pattern, replacement in _RULES:
        key = re.sub(pattern, replacement, key)
    return key


def reshaped(name: str, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`value` in our layout, and with its position table resized to `shape` as the authors resize theirs.

    Args:
        name: our name of the tensor.
        value: the authors' tensor.
        shape: our tensor's shape. What still differs from it afterwards is an error for the caller to name.
    """
    if name.endswith(".position"):  # (1, C, H, W) -> (1, H, W, C)
        value = value.permute(0, 2, 3, 1) if value.ndim == 4 else value
        same_width = value.ndim == 4 and value.shape[-1] == shape[-1]
        return resized_position(value, *shape[1:3]) if same_width else value
    if name.endswith(".relative_bias") and value.shape[1:] == shape[1:]:
        return _resized_bias(value, shape[0])
    if name.endswith((".height_rel", ".width_rel")) and value.shape[1:] == shape[1:]:
        return _resized_offsets(value, shape[0])
    if value.ndim > len(shape) and value.numel() == math.prod(shape):  # 1x1 convolutions, layer scales
        return value.reshape(shape)
    return value


def _resized_bias(table: Tensor, rows: int) -> Tensor:
    """(S*S, heads) -> (rows, heads), bicubic."""
    if table.shape[0] == rows:
        return table
    old, new = math.isqrt(table.shape[0]), math.isqrt(rows)
    grid = F.interpolate(table.T.reshape(1, -1, old, old), (new, new), mode="bicubic")
    return grid.reshape(-1, rows).T


def _resized_offsets(table: Tensor, rows: int) -> Tensor:
    """(S, d) -> (rows, d), linear with aligned corners."""
    if table.shape[0] == rows:
        return table
    return F.interpolate(table.T[None], rows, mode="linear", align_corners=True)[0].T
