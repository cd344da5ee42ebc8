"""Detections of a whole set, image by image; they do not depend on which images share a batch.

A batch is padded to its largest image, and what is padded is seen by some mixers. So images share a batch only where
each alone would be padded to the same size.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from stmbench.architectures.detectors.base import padded, resized_size
from stmbench.data.detection.detection_set import DetectionSet
from stmbench.data.detection.transforms import as_tensor
from stmbench.errors import ImageError, UnitError
from stmbench.measure.detection.results import detections_of
from stmbench.tasks.base import in_eval_mode

KEEP_BYTES: Final = 2**28  # of decoded images of an embedded set, which cost more to draw than to keep
Output = dict[str, Tensor]
Look = Callable[[list[Tensor], list[int]], list[Output]]  # images and their indices -> what a detector says of each


@dataclasses.dataclass(kw_only=True)
class Detected:
    """COCO's results for the images that could be read (`seen`, numbers in the set); why others could not."""

    results: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    seen: list[int] = dataclasses.field(default_factory=list)
    corrupt: list[str] = dataclasses.field(default_factory=list)


class Detecting:
    """Shows images of a set to detectors.

    Args:
        indices: of the images.
        size: (shorter, longer) side that the detectors resize to.
        limit_corrupt: images that may be left out because they cannot be read.
    """

    def __init__(
        self,
        images: DetectionSet,
        indices: Sequence[int],
        size: tuple[int, int],
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        autocast: torch.dtype | None = None,
        batch_size: int = 8,
        workers: int = 0,
        limit_corrupt: int = 10,
    ) -> None:
        self.images, self.indices = images, list(indices)
        self._device, self._dtype, self._autocast, self._limit = device, dtype, autocast, limit_corrupt
        self._read, self._batch_size, self._workers = _Read(images), batch_size, workers
        self._loader = self._batches(size)

    def _batches(self, size: tuple[int, int]) -> DataLoader[Any]:
        sized = [(index, padded(*resized_size(self.images.size(index), size))) for index in self.indices]
        chunks = alike_batches(sized, self._batch_size)
        return DataLoader(self._read, batch_sampler=chunks, num_workers=self._workers, collate_fn=list)

    def at(self, size: tuple[int, int]) -> Detecting:
        """The same images for detectors that resize to other (shorter, longer) sides."""
        other = copy.copy(self)
        other._loader = other._batches(size)
        return other

    def outputs(self, model: nn.Module, look: Look | None = None) -> Iterator[tuple[int, Tensor, Output] | str]:
        """(index, image (3, H, W) in [0, 1], what the detector says of it), or why an image could not be read.

        The model is in eval mode meanwhile.

        Args:
            look: shows images to the model in another way.

        Raises:
            UnitError: scores or boxes that are not finite.
        """
        with in_eval_mode(model):
            for items in self._loader:
                good = [(index, image) for index, image, _ in items if image is not None]
                yield from (why for _, image, why in items if image is None)
                inputs = [image.to(self._device, self._dtype) for _, image in good]
                with (
                    torch.inference_mode(),
                    torch.autocast(self._device.type, self._autocast, enabled=self._autocast is not None),
                ):
                    outputs: list[Output] = []
                    if inputs:
                        outputs = model(inputs) if look is None else look(inputs, [index for index, _ in good])
                for (index, image), output in zip(good, outputs, strict=True):
                    _require_finite(output, self.images.title(index))
                    yield index, image, output

    def detect(
        self, model: nn.Module, tell: Callable[[int], object] = lambda _: None, look: Look | None = None
    ) -> Detected:
        """Everything that a detector finds, in the order of the indices.

        Args:
            tell: told how many images are done.
            look: see `outputs`.

        Raises:
            UnitError: values that are not finite, or no image that could be read.
        """
        found, by_image = Detected(), dict[int, list[dict[str, Any]]]()
        for item in self.outputs(model, look):
            if isinstance(item, str):
                found.corrupt.append(item)
            else:
                index, _, output = item
                by_image[index] = detections_of(self.images.image_id(index), output, self.images.category_ids)
            tell(len(by_image) + len(found.corrupt))
        found.seen = [index for index in self.indices if index in by_image]
        found.results = [result for index in found.seen for result in by_image[index]]
        return found


class _Read(Dataset[tuple[int, Tensor | None, str]]):
    """index -> (index, image (3, H, W) in [0, 1] or None, why not)."""

    def __init__(self, images: DetectionSet) -> None:
        self._images, self._kept = images, dict[int, Tensor]()
        self._room = KEEP_BYTES if images.embedded else 0

    def __getitem__(self, index: int) -> tuple[int, Tensor | None, str]:
        if index in self._kept:
            return index, self._kept[index], ""
        try:
            image = as_tensor(self._images.image(index))
        except ImageError as error:
            return index, None, str(error)
        if (size := image.numel() * image.element_size()) <= self._room:
            self._room -= size
            self._kept[index] = image
        return index, image, ""


def alike_batches(sized: Sequence[tuple[int, tuple[int, int]]], batch_size: int) -> list[list[int]]:
    """Indices in batches of one size each, in the order in which their first images come."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, size in sized:
        groups.setdefault(size, []).append(index)
    found = [
        group[start : start + batch_size] for group in groups.values() for start in range(0, len(group), batch_size)
    ]
    order = {index: place for place, (index, _) in enumerate(sized)}
    return sorted(found, key=lambda chunk: order[chunk[0]])


def require_few_corrupt(reasons: Sequence[str], limit: int) -> None:
    """Raise UnitError where more images than `limit` could not be read."""
    if len(reasons) > limit:
        raise UnitError(f"{len(reasons)} images could not be read, more than --limit-corrupt {limit}: {reasons[0]}")


def _require_finite(output: Output, title: str) -> None:
    for name in ("scores", "boxes"):
        if not torch.isfinite(output[name]).all():
            raise UnitError(f"{name} of detections in {title} are not finite; the weights have diverged")
