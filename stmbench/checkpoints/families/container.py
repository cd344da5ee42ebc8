"""Published weights of container_v1_light (Gao et al., NeurIPS 2021; allenai/container on GitHub)."""

from __future__ import annotations

import math
import re

from torch import Tensor

from stmbench.checkpoints.families import Family, register_family

_BLOCK = r"^blocks(\d)\.(\d+)\."
_BLOCK_RULES: tuple[tuple[str, str], ...] = (
    (r"^\.pos_embed\.", ".position."),
    (r"^\.sa_weight$", ".mixer.shares.weight"),
    (r"^\.(attn|conv)\.", ".mixer.conv."),  # the depthwise convolution of stages 1 to 3, and of stage 4
    (r"^\.conv1\.", ".mixer.qkv."),
    (r"^\.conv2\.", ".mixer.proj."),
)
_OTHERS = {"norm.": "stages.3.norm.", "head.": "head.fc."}


def renamed(key: str) -> str | None:
    """Our name of one of the authors' tensors; all of them are loaded."""
    if embedding := re.match(r"^patch_embed(\d)\.(proj|norm)\.(\w+)$", key):
        number, kind, leaf = int(embedding[1]), embedding[2], embedding[3]
        module = "stem" if number == 1 else f"transitions.{number - 2}"
        return f"{module}.{'conv1' if kind == 'proj' else 'norm'}.{leaf}"
    if block := re.match(_BLOCK, key):
        rest = key[block.end() - 1 :]  # with the dot before it
        for pattern, replacement in _BLOCK_RULES:
            rest = re.sub(pattern, replacement, rest)
        return f"stages.{int(block[1]) - 1}.blocks.{block[2]}{rest}"
    for theirs, ours in _OTHERS.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key


def reshaped(name: str, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`value` in our layout: their 1 x 1 convolutions are our linear layers."""
    if value.ndim > len(shape) and value.numel() == math.prod(shape):
        return value.reshape(shape)
    return value


register_family(
    Family(
        name="container",
        title="CONTAINER (Gao et al.)",
        recognised=re.compile(r"^blocks4\.\d+\.sa_weight$"),
        renamed=renamed,
        reshaped=reshaped,
    )
)
