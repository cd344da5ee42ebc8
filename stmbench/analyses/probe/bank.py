"""The bank: images of the training split, and whether the queries can be judged by them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stmbench.analyses.images import ImageRequest
from stmbench.analyses.probe.options import ProbeOptions
from stmbench.data.given_images import PREFIX
from stmbench.data.image_selection import require_labels, select_images
from stmbench.data.image_set import ImageSet
from stmbench.data.sets import open_set
from stmbench.errors import ConfigError


def open_bank(
    options: ProbeOptions, request: ImageRequest, queries: ImageSet, indices: Sequence[int]
) -> tuple[ImageSet, list[int]]:
    """The set of the bank and the chosen images of it.

    Args:
        queries: the set of the queries, and `indices` those that were chosen.

    Raises:
        ConfigError: a split that does not exist or is that of the queries, too few images, classes that differ.
        InputError: images without labels.
    """
    asked, split = _labels(queries, indices), options.train_split
    if request.dataset.startswith(PREFIX):
        remedy = "give the path of a set with both splits, and models from Python as they are"
        raise ConfigError("a data set of two splits, a bank and queries", "images that are given", remedy)
    where = {"seed": request.seed, "classes": request.classes, "labels": request.labels}
    try:
        bank = open_set(request.dataset, split=split, **where)  # type: ignore[arg-type]
    except ConfigError as error:
        raise ConfigError(error.expected, error.got, error.remedy.replace("--split", "--train-split")) from error
    if bank.fingerprint() == queries.fingerprint():
        expected = "a bank other than the queries, whose own features would be their neighbours"
        raise ConfigError(expected, f"{bank.split!r} for both", "change --train-split or --split")
    _require_same_classes(bank, queries)
    wanted = options.bank_images
    if wanted is not None and wanted > len(bank):
        got = f"{len(bank)} in {bank.name}, split {bank.split!r}"
        raise ConfigError(f"at least {wanted} images", got, "lower --bank-images, or leave it out")
    _labels(bank, ())
    chosen = select_images(bank, wanted, request.seed)
    if not np.isin(asked, _labels(bank, chosen)).any():
        remedy = "use splits of one data set with the same labels, or raise --bank-images"
        raise ConfigError("queries of classes that the bank has", "none of them", remedy)
    return bank, chosen


def _labels(images: ImageSet, indices: Sequence[int]) -> NDArray[np.int64]:
    """Of the chosen images. Raises InputError where there are none."""
    labels = images.labels()
    if labels is None:
        require_labels(images, (), 0)
    assert labels is not None
    return labels[list(indices)]


def _require_same_classes(bank: ImageSet, queries: ImageSet) -> None:
    ours, theirs = bank.classes, queries.classes
    if ours == theirs or ours is None or theirs is None:
        return
    only = sorted(set(ours) ^ set(theirs))[:4]
    differ = f"{', '.join(only)} in one of them alone" if only else "in another order"
    expected = f"the same classes in {bank.split!r} and {queries.split!r}"
    raise ConfigError(expected, f"{len(ours)} and {len(theirs)}, {differ}", "give both splits the same classes")
