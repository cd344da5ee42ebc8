"""The analyses that an experiment can name, with their options; each makes the analysis that the command makes.

analyses:
  - {analysis: erf, num_images: 50, set: photos}
"""

from __future__ import annotations

from collections.abc import Mapping

from stmbench.experiments.steps.base import ImageKind, Kind, Subjects, images_of
from stmbench.experiments.steps.image_analyses import AffinityKind, ErfKind, EvalKind, RobustnessKind
from stmbench.experiments.steps.invariance import RotationKind, ScaleKind, TranslationKind
from stmbench.experiments.steps.profile import ProfileKind

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
