"""Published weights of the unified models (Hu et al., "Demystify Transformers & Convolutions"; STM-Evaluation)."""

from __future__ import annotations

import math
import re

from torch import Tensor

from stmbench.architectures.model_names import ModelName
from stmbench.checkpoints.families import Family, register_family

_MIXERS = {  # ours: in the authors' file names
    "halo_attn": "halonet",
    "sr_attn": "pvt",
    "sw_attn": "swin",
    "dw_conv": "convnext",
    "dcnv3": "internimage",
}
# constants that the authors register as buffers; our models compute them for the map at hand
_SKIPPED = re.compile(r"(relative_position_index|attn_mask)$")

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
    """Our name of one of the authors' tensors; None for the constants."""
    if _SKIPPED.search(key):
        return None
    for pattern, replacement in _RULES:
        key = re.sub(pattern, replacement, key)
    return key


def reshaped(name: str, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`value` in our layout."""
    if name.endswith(".position"):  # (1, C, H, W) -> (1, H, W, C)
        return value.permute(0, 2, 3, 1) if value.ndim == 4 else value
    if value.ndim > len(shape) and value.numel() == math.prod(shape):  # 1x1 convolutions, layer scales
        return value.reshape(shape)
    return value


def file_stem(model: ModelName) -> str | None:
    """'unified_convnext_tiny' for unified_dw_conv_tiny."""
    if model.architecture != "unified" or model.mixer not in _MIXERS:
        return None
    return f"unified_{_MIXERS[model.mixer]}_{model.scale}"


register_family(
    Family(
        name="stm_evaluation",
        title="unified models of STM-Evaluation (Hu et al.)",
        recognised=re.compile(r"^downsample_layers\.0\.stem\."),
        renamed=renamed,
        reshaped=reshaped,
        file_stem=file_stem,
    )
)
