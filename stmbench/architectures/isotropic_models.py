"""The isotropic architecture's models: DeiT's widths, and two scales of ours (nano, small)."""

from __future__ import annotations

from typing import Any

from torch import nn

from stmbench.architectures.base import ARCHITECTURES, ArchitectureEntry
from stmbench.architectures.isotropic import Isotropic, IsotropicConfig
from stmbench.architectures.model_factory import build_host
from stmbench.mixers.base import MixerEntry

NETWORKS = {
    "nano": IsotropicConfig(dim=64, depth=4, patch=4, img_size=(32, 32)),
    "micro": IsotropicConfig(dim=192),  # DeiT-Ti
    "tiny": IsotropicConfig(dim=384, drop_path_rate=0.1),  # DeiT-S
    "small": IsotropicConfig(dim=576, drop_path_rate=0.1),
    "base": IsotropicConfig(dim=768, drop_path_rate=0.1),  # DeiT-B
}


def build_isotropic(mixer: MixerEntry, scale: str, **options: Any) -> nn.Module:
    """An `Isotropic`. Raises ConfigError for an option that neither it nor the mixer has, or a value they refuse."""
    fixed = dict(mixer.preset(scale).options)
    return build_host(Isotropic, NETWORKS[scale], mixer, name="isotropic", fixed=fixed, **options)


ARCHITECTURES.register(
    "isotropic",
    ArchitectureEntry(
        name="isotropic",
        title="Isotropic architecture in DeiT's shape",
        citation="Touvron et al., ICML 2021; Gao et al., NeurIPS 2021, section 4.1",
        build=build_isotropic,
        default_size=lambda scale: NETWORKS[scale].img_size[0],
        mixers=("self_attn", "container_pam"),
        cfg={"first_conv": "stem.conv1", "classifier": "head.fc"},
    ),
)
