"""Which parameters weight decay leaves alone.

none_on_tables   ours: biases, norms, layer scales, position tables, whatever a model names in `no_weight_decay()`
authors_code     Hu et al.'s code: tensors of one axis, biases and Swin's tables; the layer scales that it stores with
                 four axes (halo_attn, dw_conv), halo's relative embeddings and PVT's position embedding are decayed
"""

from __future__ import annotations

from typing import Any

from torch import nn

from stmbench.training.recipe import DecayRule

SCALES_WITH_FOUR_AXES = ("halo_attn", "dw_conv")  # of the authors' modules; ours have one axis
TABLES_EXEMPT = ("relative_bias",)


def parameter_groups(
    model: nn.Module, weight_decay: float, rule: DecayRule, mixer: str | None = None
) -> list[dict[str, Any]]:
    """The trained parameters as two groups for an optimiser, with and without `weight_decay`.

    Args:
        mixer: of the model, for the authors' rule.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    tables = set(getattr(model, "no_weight_decay", set)())
    exempt = {name for name, parameter in named if _is_exempt(name, parameter.ndim, tables, rule, mixer)}
    return [
        {"params": [p for name, p in named if name not in exempt], "weight_decay": weight_decay},
        {"params": [p for name, p in named if name in exempt], "weight_decay": 0.0},
    ]


def _is_exempt(name: str, axes: int, tables: set[str], rule: DecayRule, mixer: str | None) -> bool:
    if rule == "none_on_tables":
        return axes <= 1 or name in tables
    last = name.rsplit(".", 1)[-1]
    if last == "scale" and mixer in SCALES_WITH_FOUR_AXES:
        return False
    return axes <= 1 or last == "bias" or last in TABLES_EXEMPT
