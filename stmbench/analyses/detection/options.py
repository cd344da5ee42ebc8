"""Options of the evaluation of detectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from stmbench.analyses.options import ImageOptions, RunSettings, option

if TYPE_CHECKING:
    from stmbench.analyses.base import Analysis, Listener
    from stmbench.tables import Store

SETS = "shapes, or a path in COCO's format (a folder with annotations/, or the JSON file)."


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectionOptions(ImageOptions):
    """In an experiment average precision is compared with the control's."""

    combines: ClassVar[bool] = True
    small: ClassVar[Mapping[str, Any]] = {"dataset": "shapes[size=64]", "num_images": 4, "resolution": "64"}

    dataset: str = option("shapes", help=SETS, metavar="SET", completion="datasets")
    batch_size: int = option(8, help="Images per batch, which does not change a result.", metavar="N", least=1)
    examples: int = option(8, help="Images that are kept for the report, with what is detected in them.", least=0)

    def analysis(self, run: RunSettings, store: Store, listener: Listener | None = None) -> Analysis:
        from stmbench.analyses.detection.evaluation import DetectionEvaluation

        control = run.control if run.control in run.models else None
        return DetectionEvaluation(self.request(run), store, examples=self.examples, control=control, listener=listener)
