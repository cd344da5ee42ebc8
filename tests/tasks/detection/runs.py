"""Small training runs of detectors: a dozen pictures of 64 pixels, three steps an epoch."""

from __future__ import annotations

import dataclasses
from typing import Any

from stmbench.data.detection.detection_set import DetectionSet
from stmbench.tasks.base import TrainingData, open_data
from stmbench.training.distributed import ProcessGroup
from stmbench.training.loop import Loop
from stmbench.training.presets import DETECTION_SMALL
from stmbench.training.settings import TrainingSettings

OPTIONS = "min_size=64,width=16,proposals=20,drop_path_rate=0.2"
BOXES = f"fasterrcnn:unified_identity_nano[{OPTIONS}]"
MASKS = f"maskrcnn:unified_dw_conv_nano[{OPTIONS}]"
SET = "shapes[size=64,count=12]"
RECIPE = dataclasses.replace(DETECTION_SMALL, epochs=2, batch_size=4, lr_batch=4, ema=0.9)
STEPS = 3  # of an epoch


def settings(model: str = BOXES, **rest: Any) -> TrainingSettings:
    """One run's settings; state is saved as often as it can be."""
    return TrainingSettings(**{"model": model, "recipe": RECIPE, "dataset": SET, "save_seconds": 0.0, **rest})


def data(run: TrainingSettings) -> TrainingData[DetectionSet]:
    """Both splits."""
    return open_data(run)


def trained(run: TrainingSettings, group: ProcessGroup | None = None) -> Loop:
    """A loop after its last step; nothing is saved."""
    made = Loop(run, data(run), group or ProcessGroup(), keep=lambda *_: None, tell=lambda *_: None)
    made.run()
    return made
