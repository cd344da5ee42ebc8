"""Accuracy and loss on a whole set, exact for any number of processes: each takes its share, the sums are added."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.data.image_set import ImageSet
from stmbench.data.loading import PixelCache, batches
from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import UnitError
from stmbench.training.distributed import ProcessGroup


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """Of `count` images, `correct` were right; `loss` is the mean cross-entropy."""

    correct: int
    count: int
    loss: float

    @property
    def accuracy(self) -> float:
        """In [0, 1]."""
        return self.correct / self.count


class Evaluator:
    """Judges a model by every image of a set; decoded images are kept while there is room."""

    def __init__(
        self,
        images: ImageSet,
        preprocessing: Preprocessing,
        group: ProcessGroup,
        *,
        batch: int,
        workers: int,
        limit: int,
    ) -> None:
        self._group, self._preprocessing, self._limit = group, preprocessing, limit
        # a process beyond the last image would have none: images are dealt out one by one
        indices = range(group.rank, len(images), group.size)
        self._batches = batches(
            images,
            indices,
            preprocessing.pixels,
            batch_size=batch,
            workers=workers,
            limit_corrupt=limit,
            cache=PixelCache(),
        )

    def score(self, model: nn.Module, dtype: torch.dtype, autocast: torch.dtype | None) -> Score:
        """The score of a model, which is in eval mode meanwhile.

        Args:
            dtype: of the input. autocast: of the operations, None for the input's.

        Raises:
            UnitError: more images than allowed could not be read, in all processes together.
        """
        mode = model.training
        model.eval()
        own = self._group.guarded(lambda: self._sums(model, dtype, autocast))
        model.train(mode)
        correct, total, count, corrupt = self._group.sum(own).tolist()
        if corrupt > self._limit:
            raise UnitError(f"more than {self._limit} images of the test set could not be read (--limit-corrupt)")
        return Score(correct=round(correct), count=round(count), loss=total / count)

    def _sums(self, model: nn.Module, dtype: torch.dtype, autocast: torch.dtype | None) -> Tensor:
        """(4,) of this process's images: right ones, their losses, all that were read, all that could not be."""
        sums, device = torch.zeros(4, dtype=torch.float64), self._group.device
        with torch.inference_mode(), torch.autocast(device.type, autocast, enabled=autocast is not None):
            for batch in self._batches:
                assert batch.labels is not None
                labels = batch.labels.to(device)
                logits = model(self._preprocessing.normalise(batch.images.to(device)).to(dtype)).double()
                right = (logits.argmax(1) == labels).sum().double()
                loss = F.cross_entropy(logits, labels, reduction="sum")
                sums[:2] += torch.stack([right, loss]).cpu()
                sums[2] += len(batch)
        # what the set itself has lost is counted by one process
        sums[3] = sum(item.index is not None or self._group.is_first for item in self._batches.corrupt)
        return sums
