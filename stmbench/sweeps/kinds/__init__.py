"""The analyses that an experiment can name, with their options; each makes the analysis that the command makes.

analyses:
  - {analysis: erf, num_images: 50, set: photos}
"""

from __future__ import annotations

from collections.abc import Mapping

from stmbench.sweeps.kinds.base import ImageKind, Kind, Subjects, images_of
from stmbench.sweeps.kinds.invariance import RotationKind, ScaleKind, TranslationKind
from stmbench.sweeps.kinds.looks import AffinityKind, ErfKind, EvalKind, RobustnessKind
from stmbench.sweeps.kinds.profile import ProfileKind

__all__ = ["KINDS", "ImageKind", "Kind", "Subjects", "images_of"]

KINDS: Mapping[str, type[Kind]] = {
    kind.name: kind
    for kind in (
        ProfileKind,
        EvalKind,
        ErfKind,
        TranslationKind,
        RotationKind,
        ScaleKind,
        RobustnessKind,
        AffinityKind,
    )
}
