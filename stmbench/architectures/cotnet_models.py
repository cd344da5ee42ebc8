"""The cotnet architecture's models, and those of the authors' names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from stmbench.architectures.base import ARCHITECTURES, NAMED, ArchitectureEntry, NamedModel
from stmbench.architectures.cotnet import CotNet
from stmbench.architectures.cotnet_config import NETWORKS, RELEASED
from stmbench.architectures.model_factory import build_host
from stmbench.mixers.base import MIXERS, MixerEntry

CITATION = "Li et al., Contextual Transformer Networks for Visual Recognition, 2021"
TABLE_5 = ("conv3", "cot_static", "cot_dynamic", "cot_linear_fusion", "cot", "coxt")
_CFG = {"first_conv": "stem.conv1", "classifier": "head.fc"}


def build_cotnet(mixer: MixerEntry, scale: str, **options: Any) -> nn.Module:
    """A `CotNet`. Raises ConfigError for an option that neither it nor the mixer has, or a value they refuse."""
    fixed = dict(mixer.preset(scale).options)
    return build_host(CotNet, NETWORKS[scale], mixer, name="cotnet", fixed=fixed, **options)


def _released(name: str) -> Callable[..., nn.Module]:
    mixer, network = RELEASED[name]

    def build(**options: Any) -> nn.Module:
        return build_host(CotNet, network, MIXERS.get(mixer), name="cotnet", fixed={}, **options)

    return build


ARCHITECTURES.register(
    "cotnet",
    ArchitectureEntry(
        name="cotnet",
        title="CoTNet's ResNet host",
        citation=CITATION,
        build=build_cotnet,
        default_size=lambda scale: NETWORKS[scale].img_size[0],
        mixers=TABLE_5,
        cfg=_CFG,
    ),
)
for _name, (_mixer, _) in RELEASED.items():
    NAMED.register(
        _name,
        NamedModel(name=_name, architecture="cotnet", mixer=_mixer, build=_released(_name), cfg=_CFG),
    )
