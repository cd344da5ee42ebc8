"""The container architecture's models, and the authors' released container_v1_light."""

from __future__ import annotations

from typing import Any

from torch import nn

from stmbench.architectures.base import ARCHITECTURES, NAMED, ArchitectureEntry, NamedModel
from stmbench.architectures.container import ContainerNet
from stmbench.architectures.container_config import NETWORKS
from stmbench.architectures.model_factory import build_host
from stmbench.mixers.base import MIXERS, MixerEntry

CITATION = "Gao et al., Container: Context Aggregation Network, NeurIPS 2021"
RELEASED = {"heads": 16, "kernel": 5, "gate": "sigmoid", "light": True}  # the mixer's options in the released model
# the rows of the paper's Table 2, with the mixer's options
TABLE_2 = ("self_attn", "conv3", "group_conv3", "dw_conv3", "mh_dw_conv", "mlp", "mlp_lr", "mh_mlp_lr", "container")


def build_container(mixer: MixerEntry, scale: str, **options: Any) -> nn.Module:
    """A `ContainerNet`. Raises ConfigError for an option that neither it nor the mixer has, or a value they refuse."""
    fixed = dict(mixer.preset(scale).options)
    return build_host(ContainerNet, NETWORKS[scale], mixer, name="container", fixed=fixed, **options)


def build_v1_light(**options: Any) -> nn.Module:
    """The authors' model, 20.633643 M parameters: CONTAINER-LIGHT with 16 heads and tied alpha and beta."""
    container = MIXERS.get("container")
    return build_host(ContainerNet, NETWORKS["tiny"], container, name="container", fixed=RELEASED, **options)


_CFG = {"first_conv": "stem.conv1", "classifier": "head.fc"}
ARCHITECTURES.register(
    "container",
    ArchitectureEntry(
        name="container",
        title="CONTAINER's four-stage architecture",
        citation=CITATION,
        build=build_container,
        default_size=lambda scale: NETWORKS[scale].img_size[0],
        mixers=TABLE_2,
        cfg=_CFG,
    ),
)
NAMED.register(
    "container_v1_light",
    NamedModel(name="container_v1_light", architecture="container", mixer="container", build=build_v1_light, cfg=_CFG),
)
