"""Published weights of CoTNet, CoTNeXt and SE-CoTNetD (Li et al., 2021; JDAI-CV/CoTNet on GitHub)."""

from __future__ import annotations

import re

from stmbench.checkpoints.families import Family, register_family

_BLOCK = re.compile(r"^layer(\d)\.(\d+)\.")
_STEM = {
    "conv1.weight": "stem.conv1.weight",
    "conv1.0.": "stem.conv1.",
    "conv1.1.": "stem.norm1.",
    "conv1.3.": "stem.conv2.",
    "conv1.4.": "stem.norm2.",
    "conv1.6.": "stem.conv3.",
    "bn1.": "stem.norm.",  # the last one, whichever the stem is
    "fc.": "head.fc.",
}
_RULES: tuple[tuple[str, str], ...] = (
    (r"^bn(\d)\.", r"norm\1."),
    (r"^downsample\.", "shortcut."),
    (r"^conv2\.key_embed\.(\d)\.", r"mixer.context.\1."),
    (r"^conv2\.embed\.0\.", "mixer.weights.reduce."),
    (r"^conv2\.embed\.1\.", "mixer.weights.norm."),
    (r"^conv2\.embed\.3\.", "mixer.weights.expand."),
    (r"^conv2\.embed\.4\.", "mixer.weights.weight_norm."),
    (r"^conv2\.conv1x1\.0\.", "mixer.value."),
    (r"^conv2\.conv1x1\.1\.", "mixer.value_norm."),
    (r"^conv2\.bn\.", "mixer.norm."),
    (r"^conv2\.se\.0\.", "mixer.split.reduce."),
    (r"^conv2\.se\.1\.", "mixer.split.norm."),
    (r"^conv2\.se\.3\.", "mixer.split.expand."),
    (r"^conv2\.conv\.", "spatial.conv."),
    (r"^conv2\.bn0\.", "spatial.norm."),
    (r"^conv2\.fc1\.", "spatial.reduce."),
    (r"^conv2\.bn1\.", "spatial.hidden_norm."),
    (r"^conv2\.fc2\.", "spatial.expand."),
)


def renamed(key: str) -> str | None:
    """Our name of one of the authors' tensors, which have our shapes; all of them are loaded."""
    block = _BLOCK.match(key)
    if block is None:
        for theirs, ours in _STEM.items():
            if key.startswith(theirs):
                return ours + key.removeprefix(theirs)
        return key
    rest = key[block.end() :]
    for pattern, replacement in _RULES:
        rest = re.sub(pattern, replacement, rest)
    return f"stages.{int(block[1]) - 1}.blocks.{block[2]}.{rest}"


register_family(
    Family(
        name="cotnet",
        title="CoTNet (Li et al.)",
        recognised=re.compile(r"^layer4\.\d+\.conv2\.key_embed\."),
        renamed=renamed,
    )
)
