"""What the container architecture takes besides the mixer, and its networks at each scale.

Gao et al., "Container", NeurIPS 2021, section 3.4. The paper prints depths 2, 3, 8, 3, dims 128, 256, 320, 512 and one
MLP ratio; its Table 2 was counted on the released model's: depths 3, 4, 8, 3, dims 64, 128, 320, 512, MLP ratios
8, 8, 4, 4. `tiny` is the released network; the other scales are ours.
"""

from __future__ import annotations

import dataclasses

from stmbench.architectures.host_config import REMEDY, HostConfig
from stmbench.errors import require
from stmbench.mixers.base import SCALES

PATCHES = (4, 2, 2, 2)  # sides of the patches of the four embeddings, as released (section 3.4 says 4, 4, 2, 2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContainerNetConfig(HostConfig):
    """What the architecture takes besides the mixer."""

    dims: tuple[int, int, int, int] = (64, 128, 320, 512)
    depths: tuple[int, int, int, int] = (3, 4, 8, 3)
    mlp_ratios: tuple[float, float, float, float] = (8, 8, 4, 4)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("dims", "depths", "mlp_ratios"):
            require(len(getattr(self, name)) == 4, f"four {name}, one for each stage", getattr(self, name), REMEDY)
        require(all(d >= 1 for d in self.dims), "dims >= 1", self.dims, REMEDY)
        require(all(d >= 1 for d in self.depths), "depths >= 1", self.depths, REMEDY)

    def maps(self, height: int, width: int) -> list[tuple[int, int]]:
        """(H, W) of each stage's map for an image of height x width: patches that do not fit are left out."""
        sizes = []
        for side in PATCHES:
            height, width = height // side, width // side
            sizes.append((height, width))
        return sizes


NETWORKS: dict[str, ContainerNetConfig] = {
    "nano": ContainerNetConfig(dims=(16, 32, 64, 128), depths=(2, 2, 2, 2), mlp_ratios=(4, 4, 4, 4), img_size=(32, 32)),
    "micro": ContainerNetConfig(dims=(32, 64, 160, 256), depths=(2, 2, 4, 2)),
    "tiny": ContainerNetConfig(drop_path_rate=0.1),
    "small": ContainerNetConfig(depths=(3, 4, 18, 3), drop_path_rate=0.2),
    "base": ContainerNetConfig(dims=(96, 192, 480, 768), depths=(3, 4, 18, 3), drop_path_rate=0.3),
}
assert tuple(NETWORKS) == SCALES
