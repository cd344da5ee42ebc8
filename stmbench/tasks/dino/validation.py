"""How good the teacher's features are after an epoch: by labels where the set has them, by its own images where not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from PIL import Image
from torch import Tensor, nn

from stmbench.architectures.feature_extractor import pooled
from stmbench.data.image_set import ImageSet
from stmbench.data.loading import Batch, Batches, PixelCache, batches
from stmbench.data.preprocessing import Preprocessing, to_pixels
from stmbench.errors import UnitError
from stmbench.measure.nearest_neighbours import knn_predictions, nearest_neighbours
from stmbench.tasks.base import TrainingData
from stmbench.training.dino_recipe import DinoRecipe
from stmbench.training.distributed import ProcessGroup
from stmbench.training.settings import TrainingSettings

VIEW: Final = 0.75  # of each side, in a view
_Found = tuple[Tensor, Tensor]  # (N, ...) features and (N,) labels


class FeatureValidation:
    """Images of the bank and of the held-out split, seen by a network without gradients.

    Each process looks at its share of the images; all of them get all features.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        recipe: DinoRecipe,
        data: TrainingData[ImageSet],
        preprocessing: Preprocessing,
        group: ProcessGroup,
    ) -> None:
        self.settings, self.recipe, self.group, self.preprocessing = settings, recipe, group, preprocessing
        self.labelled = is_labelled(data)
        self.num_classes = data.num_classes
        chosen, held_out = data.chosen[: recipe.knn_images], range(len(data.test))
        prepare = preprocessing.pixels if self.labelled else self._views
        self.bank = self._batches(data.train, chosen, prepare) if self.labelled else None
        self.held_out = self._batches(data.test, held_out, prepare)

    def correct(self, network: nn.Module) -> Tensor:
        """(N,) whether each held-out image has the class of its neighbours, or a view of its own as the nearest one.

        Raises:
            UnitError: features that are not finite, or more images than allowed that could not be read.
        """
        queries, labels = self._all(network, self.held_out)
        if self.bank is not None:
            bank, known = self._all(network, self.bank)
            k = min(self.recipe.knn_k, len(bank))
            found = knn_predictions(bank, known, queries, k=(k,), num_classes=self.num_classes)[k]
            return found == labels
        first, second = queries.unbind(1)
        _, nearest = nearest_neighbours(first, second, 1)
        return nearest[:, 0] == torch.arange(len(first))

    def _all(self, network: nn.Module, source: Batches) -> _Found:
        own = self.group.guarded(lambda: [self._features(network, batch) for batch in source])
        parts = [part for found in self.group.gather(own) for part in found]
        limit = self.settings.limit_corrupt
        if sum(self.group.gather(len(source.corrupt))) > limit:
            raise UnitError(f"more than {limit} images could not be read (--limit-corrupt)")
        features, labels = (torch.cat(column) for column in zip(*parts, strict=True))
        return features, labels

    def _features(self, network: nn.Module, batch: Batch) -> _Found:
        parameter = next(network.parameters())
        images = batch.images.to(parameter.device)
        pixels = self.preprocessing.normalise(images.flatten(0, -4)).to(parameter.dtype)
        found = pooled(network, pixels).float().cpu()
        labels = torch.zeros(len(batch), dtype=torch.int64) if batch.labels is None else batch.labels
        return found.reshape(*images.shape[:-3], -1), labels

    def _views(self, image: Image.Image) -> Tensor:
        """(2, 3, H, W): two overlapping crops from opposite corners."""
        width, height = image.size
        across, down = max(1, round(VIEW * width)), max(1, round(VIEW * height))
        boxes = (0, 0, across, down), (width - across, height - down, width, height)
        size = self.preprocessing.size[::-1]
        return torch.stack([to_pixels(image.crop(box).resize(size, Image.Resampling.BICUBIC)) for box in boxes])

    def _batches(self, images: ImageSet, chosen: Sequence[int], prepare: Callable[[Image.Image], Tensor]) -> Batches:
        settings, group = self.settings, self.group
        return batches(
            images,
            chosen[group.rank :: group.size],
            prepare,
            batch_size=max(32, settings.recipe.batch_size // group.size // settings.accumulate),
            workers=settings.workers or 0,
            limit_corrupt=settings.limit_corrupt,
            cache=PixelCache(),
        )


def is_labelled(data: TrainingData[ImageSet]) -> bool:
    """Whether both splits have labels."""
    return all(images.labels() is not None for images in (data.train, data.test))
