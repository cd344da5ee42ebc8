"""Options of the evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from stmbench.analyses.options import ImageOptions, RunSettings, option

if TYPE_CHECKING:
    from stmbench.analyses.base import Analysis, Listener
    from stmbench.tables import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalOptions(ImageOptions):
    """In an experiment predictions are always kept, and accuracies compared with the control's."""

    combines: ClassVar[bool] = True
    in_experiments: ClassVar[Mapping[str, Any]] = {"keep_predictions": True}

    dataset: str = option(
        "digits",
        help="digits, photos, shapes, or a path: class folders, ImageNet, tar or Parquet, a saved Hugging Face set.",
        metavar="SET",
        completion="datasets",
    )
    keep_predictions: bool = option(False, help="Keep the predictions for each image as Parquet files.")

    def analysis(self, run: RunSettings, store: Store, listener: Listener | None = None) -> Analysis:
        from stmbench.analyses.eval.evaluation import Evaluation
        from stmbench.analyses.models import for_models
        from stmbench.analyses.registry import ANALYSES

        _, instead = for_models(ANALYSES.get("eval"), self, run.models)
        if instead is not self:
            return instead.analysis(run, store, listener)
        control = run.control if run.control in run.models else None
        keep = self.keep_predictions
        return Evaluation(self.request(run), store, keep_predictions=keep, control=control, listener=listener)
