"""Options of an analysis: one dataclass, from which its command, its Python function and its experiment step are made.

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class ErfOptions(ImageOptions):
        stages: tuple[int, ...] = option((), help="Stages from 1; default: all.", metavar="NUMBERS", example="3")

A subclass says what it measures with in `analysis`, which may import torch; its module must not.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from stmbench.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from stmbench.analyses.base import Analysis, Listener
    from stmbench.analyses.images import ImageRequest
    from stmbench.checkpoints.selection import Checkpoint
    from stmbench.tables import Store

LARGEST_SIDE = 16_384  # pixels: more is a typing mistake
LARGEST_BATCH, MOST_THREADS = 2**20, 1024  # beyond any machine
DTYPES = ("fp32", "tf32", "bf16", "fp16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptionHelp:
    """How people meet an option.

    Attributes:
        help: one sentence, for the command line and the documentation.
        metavar: what stands for the value in the help.
        flags: names on the command line; default: the field's name with dashes.
        example: a value, for messages about one that does not fit.
        least, most: the range of a number.
        completion: NAME of a function `complete_NAME` of `commands.options` that completes values.
        is_argument: whether the value stands on the command line without a name.
    """

    help: str
    metavar: str | None = None
    flags: tuple[str, ...] = ()
    example: str = ""
    least: int | None = None
    most: int | None = None
    completion: str = ""
    is_argument: bool = False


def option(default: Any, *, help: str, **facts: Any) -> Any:
    """A field of an `Options` dataclass with its help text; `facts` are those of `OptionHelp`."""
    return dataclasses.field(default=default, metadata={"option": OptionHelp(help=help, **facts)})


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What every analysis is asked for: models, their weights and where they run.

    Attributes:
        models: by name.
        checkpoints: model -> weights; a model without one keeps random weights.
        control: the model that the others are compared with, for analyses that compare.
        plugins: files that define mixers or models.
    """

    models: tuple[str, ...]
    checkpoints: Mapping[str, Path | Checkpoint] = dataclasses.field(default_factory=dict)
    seed: int = 0
    device: str = "cpu"
    control: str | None = None
    plugins: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(abc.ABC):
    """Base of every analysis's options. Making one checks it: raises ConfigError or UnknownNameError.

    Attributes:
        needs_images: whether it shows images of a data set to models.
        alone: whether nothing else may run meanwhile, because it measures time.
        deterministic: whether the values are the same whatever the seed, which then changes neither weights nor images.
        combines: whether an experiment also runs it once for all models together, to compare them.
        in_experiments: options that an experiment's step has unless it says otherwise.
        old_keys: keys of earlier experiment files, and the options that they are now.
        small: options of a run that takes seconds, which `stmbench check` does.
    """

    needs_images: ClassVar[bool] = False
    alone: ClassVar[bool] = False
    deterministic: ClassVar[bool] = False
    combines: ClassVar[bool] = False
    in_experiments: ClassVar[Mapping[str, Any]] = {}
    old_keys: ClassVar[Mapping[str, str]] = {"set": "dataset"}
    small: ClassVar[Mapping[str, Any]] = {}

    def __post_init__(self) -> None:
        for field, words, facts in _checks_of(type(self)):
            value = getattr(self, field.name)
            if words and value is not None and value not in words:
                if set(str(value).split(",")) <= set(words):
                    raise ConfigError(f"one {field.name}", repr(value), "run it once for each")
                raise UnknownNameError(
                    field.name if facts.is_argument else f"value for {flag(field.name)}", str(value), words
                )
            if value is None or isinstance(value, (bool, str, tuple)) or (facts.least is facts.most is None):
                continue
            if (facts.least is not None and value < facts.least) or (facts.most is not None and value > facts.most):
                limits = f" of at least {facts.least}" if facts.most is None else f" from {facts.least} to {facts.most}"
                raise ConfigError(f"{field.name}{limits}", repr(value), f"change {flag(field.name)}")

    @abc.abstractmethod
    def analysis(self, run: RunSettings, store: Store, listener: Listener | None = None) -> Analysis:
        """The analysis. Raises what its config, its images and its weights raise."""

    @property
    def shown(self) -> str | None:
        """The definition that tables and figures show, where several are measured."""
        return None

    def passes(self, images: int) -> float:
        """Forward passes for one model, a backward pass counting as two; for the estimate of time."""
        return float(images)

    def seconds(self, models: int, images: int, speed: Callable[[], float]) -> float:
        """An estimate of how long it takes; `speed()` measures a model's forward passes per second."""
        return self.passes(images) * models / speed()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageOptions(Options):
    """What analyses of images share."""

    needs_images: ClassVar[bool] = True
    small: ClassVar[Mapping[str, Any]] = {"dataset": "digits", "num_images": 4, "resolution": "32", "batch_size": 2}

    dataset: str = option(
        "photos",
        help="digits, photos, shapes, or a path: class folders, ImageNet, tar or Parquet, a saved Hugging Face set.",
        metavar="SET",
        completion="datasets",
    )
    split: str = option("test", help="Split of the data set; on disk 'test' also finds 'val'.", metavar="NAME")
    classes: str | None = option(
        None,
        help="Mapping from classes to the model's outputs: a CSV or JSON file (name, index), imagenet-1k, imagenet-a, "
        "imagenet-r, imagenet-real, imagenet-v2, or numbers (a class's name is the index).",
        metavar="FILE|WORD",
        completion="classes",
    )
    labels: Path | None = option(None, help="A CSV file (image, label) that labels a folder's images.", metavar="FILE")
    num_images: int | None = option(
        None,
        help="Images, balanced over the classes and drawn by --seed; default: all.",
        metavar="N",
        least=1,
    )
    resolution: int | str | None = option(
        None, help="224 or 224x320 (H x W); default: the model's own.", metavar="SIZE"
    )
    dtype: Literal["fp32", "tf32", "bf16", "fp16"] = option(
        "fp32", help="fp32, tf32, bf16 or fp16.", metavar="DTYPE", completion="dtypes"
    )
    batch_size: int = option(32, help="Images per batch.", metavar="N", least=1, most=LARGEST_BATCH)
    workers: int = option(
        0, help="Threads that decode images ahead; 0: decode on demand.", metavar="N", least=0, most=MOST_THREADS
    )
    limit_corrupt: int = option(10, help="Unreadable images that may be skipped.", metavar="N", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.size

    @property
    def size(self) -> tuple[int, int] | None:
        """(H, W) of the images; None: each model's own."""
        if self.resolution is None:
            return None
        sizes = resolutions(str(self.resolution))
        if len(sizes) > 1:
            raise ConfigError("one resolution", repr(self.resolution), "run it once for each")
        return sizes[0]

    def request(self, run: RunSettings) -> ImageRequest:
        """Models and images brought together. The default number of images may be more than a data set has."""
        from stmbench.analyses.images import ImageRequest

        (default,) = (field.default for field in dataclasses.fields(self) if field.name == "num_images")
        return ImageRequest(
            models=run.models,
            checkpoints=run.checkpoints,
            dataset=self.dataset,
            split=self.split,
            classes=self.classes,
            labels=self.labels,
            num_images=self.num_images,
            or_fewer=self.num_images == default,
            resolution=self.size,
            seed=run.seed,
            device=run.device,
            dtype=self.dtype,
            batch_size=self.batch_size,
            workers=self.workers,
            limit_corrupt=self.limit_corrupt,
        )


@functools.cache
def hints_of(kind: type[Options]) -> Mapping[str, Any]:
    """The types of the fields; found once, as a plan makes options for each of its tasks."""
    return get_type_hints(kind)


@functools.cache
def _checks_of(kind: type[Options]) -> list[tuple[dataclasses.Field[Any], tuple[str, ...], OptionHelp]]:
    """Each field with the words and limits that it allows; found once, as a plan makes options for each task."""
    hints = hints_of(kind)
    return [(field, _words_of(hints[field.name]), help_of(field)) for field in dataclasses.fields(kind)]


def help_of(field: dataclasses.Field[Any]) -> OptionHelp:
    """The help of a field of an `Options` dataclass. Raises TypeError where it was not made by `option`."""
    if "option" not in field.metadata:
        raise TypeError(f"expected the field {field.name!r} to be made by option(), got a plain field; give it a help")
    help_text: OptionHelp = field.metadata["option"]
    return help_text


def flag(name: str) -> str:
    """'num_images' -> '--num-images'."""
    return f"--{name.replace('_', '-')}"


def numbers(texts: tuple[str, ...], kind: type[int] | type[float], example: str, name: str) -> tuple[Any, ...]:
    """Texts as numbers. Raises ConfigError for what is none, naming an example and the option."""
    found = []
    for text in texts:
        try:
            found.append(kind(text) if len(text) <= 40 else kind("too long"))
        except ValueError:
            word = "whole numbers" if kind is int else "numbers"
            expected = f"{word} such as {example}" if example else word
            got = repr(text) if len(text) <= 40 else f"{len(text)} characters"
            raise ConfigError(expected, got, f"change {flag(name)}") from None
    return tuple(found)


def resolutions(text: str) -> list[tuple[int, int]]:
    """(H, W) of every comma-separated item: `224` is (224, 224), `224x320` has 224 rows of 320 pixels.

    Raises:
        ConfigError: anything else, or a side below 1 or above `LARGEST_SIDE`.
    """
    found = []
    for item in filter(None, (item.strip() for item in text.split(","))):
        sides = item.lower().split("x")
        if len(sides) > 2 or not all(side.isascii() and side.isdigit() for side in sides):
            raise ConfigError("a resolution such as 224 or 224x320", repr(item), "change --resolution")
        if any(len(side) > 20 or int(side) > LARGEST_SIDE for side in sides):
            got = repr(item) if len(item) <= 40 else f"{len(item)} characters"
            raise ConfigError(f"a resolution of at most {LARGEST_SIDE}", got, "change --resolution")
        height, width = int(sides[0]), int(sides[-1])
        if min(height, width) < 1:
            raise ConfigError("a resolution of at least 1", repr(item), "change --resolution")
        found.append((height, width))
    if not found:
        raise ConfigError("a resolution such as 224 or 224x320", repr(text), "change --resolution")
    return found


def element_type(hint: Any) -> Any | None:
    """The type of an element where `hint` is `tuple[X, ...]`, or that or None; None for other types."""
    for part in _parts(hint):
        if get_origin(part) is tuple:
            return get_args(part)[0]
    return None


def scalar_type(hint: Any) -> type:
    """bool, int, float, Path or str: what the command line parses for a field that is no tuple."""
    kinds = [part for part in _parts(hint) if part is not type(None)]
    if len(kinds) == 1 and kinds[0] in (bool, int, float, Path):
        return kinds[0]  # type: ignore[no-any-return]
    return str


def _parts(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _words_of(hint: Any) -> tuple[str, ...]:
    """The words that a Literal, or a Literal or None, allows; none for other types."""
    return tuple(word for part in _parts(hint) if get_origin(part) is Literal for word in get_args(part))
