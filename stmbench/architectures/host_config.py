"""What every host takes besides the mixer and its own sizes."""

from __future__ import annotations

import abc
import dataclasses
from typing import TYPE_CHECKING, Final

from stmbench.errors import require

LARGEST_STRIDE: Final = 32  # of a host's last map
REMEDY: Final = "change the model's options"


@dataclasses.dataclass(frozen=True, kw_only=True)
class HostConfig(abc.ABC):
    """Fields that all hosts share. `img_size` is the design size; images of any other from `smallest` on are taken."""

    drop_path_rate: float = 0.0
    num_classes: int = 1000  # 0 for pooled features
    in_chans: int = 3
    img_size: tuple[int, int] = (224, 224)

    def __post_init__(self) -> None:
        require(min(self.img_size) >= 1, "img_size >= 1", self.img_size, REMEDY)
        require(self.num_classes >= 0, "num_classes >= 0", self.num_classes, REMEDY)
        require(self.in_chans >= 1, "in_chans >= 1", self.in_chans, REMEDY)
        require(0 <= self.drop_path_rate < 1, "0 <= drop_path_rate < 1", self.drop_path_rate, REMEDY)

    if TYPE_CHECKING:  # a field of some hosts, worked out by others: a property here would be taken for a default

        @property
        def dims(self) -> tuple[int, ...]:
            """Channels of each stage's map."""

    @abc.abstractmethod
    def maps(self, height: int, width: int) -> list[tuple[int, int]]:
        """(H, W) of each stage's map for an image of height x width."""

    @property
    def smallest(self) -> int:
        """Side of the smallest image that leaves something of every map."""
        return next(side for side in range(1, 2 * LARGEST_STRIDE + 1) if min(map(min, self.maps(side, side))) >= 1)
