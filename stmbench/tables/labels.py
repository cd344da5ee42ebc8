"""Texts that the table holds and that others parse: resolution, weights, and when a profile supports no conclusion.

`resolution` is '224' for a square of 224 px and '32x64' for a height of 32 and a width of 64; `weights` is
`random:<seed>` or a checkpoint's label. A duration and a list in words are among them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from stmbench.errors import TableError

if TYPE_CHECKING:
    import pandas as pd

_TEXT: Final = re.compile(r"[0-9]+(x[0-9]+)?")
_RANDOM: Final = "random:"
# a run of `stmbench train`: its name, the seed, and the file's key if a file holds several sets of weights
_TRAINED: Final = re.compile(r"(?P<source>.+)\.s(?P<seed>\d+)(?P<key>[#+][^:]*)?:[^:]*")
# weights that a run kept of an epoch before its last; a run's name says how many epochs it has in all
_OF_EPOCH: Final = re.compile(r"(?P<run>.+\.s\d+)\.epoch(?P<epoch>\d+)(?P<key>[#+][^:]*)?(?P<hash>:[^:]*)")
_EPOCHS: Final = re.compile(r".*\.e(?P<epoch>\d+)([.#+].*)?")
_DISTILLED: Final = ".dino"  # in the names of such runs
_KIND: Final = re.compile(r"[a-z]+(-[a-z]+)*")  # of a detector
LEARNED: Final = ("accuracy", "box_ap", "mask_ap")  # metrics that are no result where weights are random
FEWEST_ROUNDS: Final = 10  # fewer support no interval, ratio or rank
FEWEST_TO_RANK: Final = 20  # below which probabilities of ranks would look surer than they are
UNFIT: Final = "not fit to publish"  # the beginning of such a warning


def size_text(height: int, width: int) -> str:
    """'224', or '32x64' if the height is not the width."""
    return f"{height}" if height == width else f"{height}x{width}"


def square_side(text: str) -> int | None:
    """The side of a square, in pixels; None for any other rectangle."""
    return int(text) if text.isdigit() else None


def resolution_text(value: object) -> object:
    """The column's text for a size given as a number, as text or as (height, width); anything else is returned as is.

    Raises TableError for text that is no size.
    """
    if isinstance(value, str) and not _TEXT.fullmatch(value):
        raise TableError("resolution as 224 or 32x64", repr(value), "write height x width in pixels")
    if isinstance(value, tuple) and len(value) == 2:
        return size_text(*value)
    is_number = hasattr(value, "__index__") and not isinstance(value, bool)
    return str(value) if is_number else value


def random_label(seed: int) -> str:
    """The label of untrained weights, initialised with `seed`."""
    return f"{_RANDOM}{seed}"


def is_random(weights: object) -> bool:
    """Whether a cell of `weights` names untrained weights; False for an empty one."""
    return str(weights).startswith(_RANDOM)


def are_random(weights: pd.Series) -> pd.Series:
    """`is_random` of each cell of the column."""
    return weights.map(is_random).astype(bool)


def detector_and_backbone(model: str) -> tuple[str, str]:
    """('maskrcnn', 'cotnet50') of 'maskrcnn:cotnet50'; ('', name) of a classification model."""
    kind, colon, rest = model.partition(":")
    is_detector = colon and kind != "timm" and _KIND.fullmatch(kind)
    return (kind, rest) if is_detector else ("", model)


def recipe_and_seed(weights: object) -> tuple[str, str]:
    """Split a label into what runs with different seeds share, and the seed; ('', '') for an empty cell.

    `digits.e12.s0:1a2b` gives ('digits.e12', '0'), `random:1` gives ('random:', '1'); other labels have no seed.
    """
    import pandas as pd

    label = "" if pd.isna(weights) else str(weights)  # type: ignore[call-overload]
    if is_random(label):
        return _RANDOM, label.removeprefix(_RANDOM)
    match = _TRAINED.fullmatch(label)
    return (match["source"] + (match["key"] or ""), match["seed"]) if match else (label, "")


def run_and_epoch(weights: object) -> tuple[str, int] | None:
    """A label without its epoch, which all weights of a run share but for the hash, and the epoch; None without one.

    `shapes.e10.s0.epoch4:1a2b` gives ('shapes.e10.s0:', 4), `shapes.e10.s0:3c4d` gives ('shapes.e10.s0:', 10).
    """
    import pandas as pd

    label = "" if pd.isna(weights) else str(weights)  # type: ignore[call-overload]
    if (match := _OF_EPOCH.fullmatch(label)) is not None:
        return f"{match['run']}{match['key'] or ''}:", int(match["epoch"])
    run, recipe = _TRAINED.fullmatch(label), _EPOCHS.fullmatch(recipe_and_seed(label)[0])
    if run is None or recipe is None:
        return None
    return f"{label.rpartition(':')[0]}:", int(recipe["epoch"])


def is_self_supervised(weights: object) -> bool:
    """Whether a label, or a recipe's part of one, names weights of a self-distillation."""
    return f"{_DISTILLED}." in str(weights)


def run_label(label: str) -> str:
    """The label of an epoch's weights in the form of a run's, so that seeds of one epoch can be joined.

    `a.e6.s0.epoch6:1a2b` is `a.e6.s0:1a2b`, what the run ended with, and `a.e6.s0.epoch4:1a2b` is
    `a.e6.epoch4.s0:1a2b`. Other labels are returned as they are.
    """
    found = run_and_epoch(label)
    if found is None or label.startswith(found[0]):
        return label
    (run, epoch), (recipe, seed) = found, recipe_and_seed(found[0])
    middle = "" if run_and_epoch(run) == found else f".epoch{epoch}"
    return f"{recipe}{middle}.s{seed}:{label.rpartition(':')[2]}"


def weights_text(weights: object) -> str:
    """For people: 'random init', or the checkpoint's label."""
    return "random init" if is_random(weights) else str(weights)


def unfit_warnings(warnings: Iterable[str]) -> list[str]:
    """The warnings that a report puts above its summary, without duplicates."""
    return [text for text in dict.fromkeys(warnings) if text.startswith(UNFIT)]


def few_rounds(count: int) -> str:
    """The reason given for a missing interval."""
    rounds = "1 round" if count == 1 else f"{count} rounds"
    return f"{rounds}, fewer than {FEWEST_ROUNDS}: no interval, ratio or rank"


def listed(names: Iterable[str]) -> str:
    """'a, b and c'."""
    *first, last = list(names)
    return f"{', '.join(first)} and {last}" if first else last


def duration(seconds: float) -> str:
    """'45 s', '3:20 min', '5.0 h', '12 days'."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"
