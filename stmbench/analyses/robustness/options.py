"""Options of the robustness analysis."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from stmbench.analyses.options import ImageOptions, RunSettings, option

if TYPE_CHECKING:
    from stmbench.analyses.base import Analysis, Listener
    from stmbench.analyses.robustness.attacks import RobustnessConfig
    from stmbench.tables import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class RobustnessOptions(ImageOptions):
    """`eps` as people write them: 8/255 or 0.03; none: the paper's."""

    combines: ClassVar[bool] = True
    in_experiments: ClassVar[Mapping[str, Any]] = {"num_images": None}

    num_images: int | None = option(
        56, help="Images, balanced over the classes and drawn by --seed.", metavar="N", least=1
    )
    batch_size: int = option(16, help="Images per batch.", metavar="N", least=1, most=2**20)
    attacks: tuple[str, ...] = option(
        ("fgsm",),
        help="fgsm (needs no extra); torchattacks_fgsm, pgd, apgd (extra 'attacks'); all of these; or a mistake, "
        "fgsm_normalised. Comma-separated.",
        metavar="NAMES",
    )
    eps: tuple[str | float, ...] = option(
        (), help="Values of eps such as 8/255 or 0.03, comma-separated; default: the paper's.", metavar="SIZES"
    )
    steps: int = option(10, help="Steps of iterative attacks.", metavar="N", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.config  # refuses invalid values

    @property
    def config(self) -> RobustnessConfig:
        """The analysis's config."""
        from stmbench.analyses.robustness.attacks import SOUND, RobustnessConfig, eps_of

        sizes: dict[str, Any] = {"eps": tuple(eps_of(str(value)) for value in self.eps)} if self.eps else {}
        attacks = SOUND if self.attacks == ("all",) else self.attacks
        return RobustnessConfig(attacks=attacks, steps=self.steps, **sizes)

    def analysis(self, run: RunSettings, store: Store, listener: Listener | None = None) -> Analysis:
        from stmbench.analyses.robustness.analysis import Robustness

        return Robustness(self.config, self.request(run), store, listener=listener)

    def passes(self, images: int) -> float:
        return float(images * len(self.attacks) * (6 if self.attacks == ("fgsm",) else 3 * self.steps * 4))
