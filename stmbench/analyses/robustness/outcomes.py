"""What an attack did to each image, and the file that keeps it; read without torch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stmbench.tables.files import ArrayFile

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

AT_ZERO = "attacked"  # the condition of rows at eps 0 that went through the attack: rows of the clean images have none


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcomes(ArrayFile):
    """N images, E values of eps in ascending order.

    `labels` are what was attacked: the set's, or, where `own_labels`, the model's predictions on the clean images.
    `reach` is the largest change of a value, `low` and `high` the smallest and the largest value of any adversarial
    image at an eps. `probe` are the predictions at eps 0, made by the whole attack, for the first of the images.
    `zero_share` is NaN where the attack does not show its gradient.
    """

    eps: Floats  # (E,)
    indices: Integers  # (N,) into the image set
    labels: Integers  # (N,)
    clean: Integers  # (N,) predictions
    adversarial: Integers  # (E, N) predictions
    reach: Floats  # (E,)
    low: Floats  # (E,)
    high: Floats  # (E,)
    probe: Integers  # (at most N,)
    zero_share: Floats  # (N,)
    own_labels: bool

    @property
    def metric(self) -> str:
        """What a hit is called: accuracy on labels, consistency on the model's own predictions."""
        return "consistency" if self.own_labels else "accuracy"

    @property
    def clean_hits(self) -> NDArray[np.bool_]:
        """(N,) whether the clean prediction is the label."""
        return np.asarray(self.clean == self.labels)

    def hits(self, level: int) -> NDArray[np.bool_]:
        """(N,) whether the prediction at `eps[level]` is the label."""
        return np.asarray(self.adversarial[level] == self.labels)

    def levels(self) -> list[tuple[float, NDArray[np.bool_]]]:
        """(eps, hits) of the clean images, at eps 0, and of every eps above 0, in ascending order."""
        attacked = [(float(eps), self.hits(level)) for level, eps in enumerate(self.eps) if eps > 0]
        return [(0.0, self.clean_hits), *attacked]

    def attacked_at_zero(self) -> NDArray[np.bool_] | None:
        """(N,) hits after the whole attack at eps 0; None where that was not asked for."""
        return next((self.hits(level) for level, eps in enumerate(self.eps) if eps == 0), None)

    @classmethod
    def read(cls, path: Path) -> Outcomes:
        """What `write` wrote; see `ArrayFile.read`."""
        outcomes = super().read(path)
        return dataclasses.replace(outcomes, own_labels=bool(outcomes.own_labels))
