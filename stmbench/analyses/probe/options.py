"""Options of the probes, and the names of their metrics."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from stmbench.analyses.options import ImageOptions, RunSettings, option
from stmbench.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from stmbench.analyses.base import Analysis, Listener
    from stmbench.tables import Store

NAME: Final = "probe"
METHODS: Final = ("knn", "linear")
TRAIN: Final = "train"
DEFAULT_K: Final = (10, 20, 100, 200)
SHOWN_K: Final = 20  # in figures and comparisons, or the nearest that was measured
TEMPERATURE: Final = 0.07

KNN: Final = "knn_accuracy"  # level: k
KNN_TOP5: Final = "knn_accuracy_top5"
LINEAR: Final = "linear_accuracy"  # condition: the solver
CHOICE: Final = "linear_choice"  # learning rate, or strength of the logistic regression
HELD_OUT: Final = "held_out_accuracy"  # raw rows; level: each rate or strength
COSINE: Final = "feature_cosine"
FEATURES: Final = "features"
DIFFERENCE: Final = "accuracy_difference"  # condition: knn (level: k), or the solver


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeOptions(ImageOptions):
    """`num_images` are queries. The bank is `bank_images` of `train_split`, by default all."""

    combines: ClassVar[bool] = True
    small: ClassVar[dict[str, Any]] = {
        **ImageOptions.small, "num_images": 40, "bank_images": 60, "batch_size": 20, "epochs": 5
    }  # fmt: skip

    dataset: str = option(
        "digits",
        help="digits, shapes, or a path: class folders, ImageNet, tar or Parquet, a saved Hugging Face set.",
        metavar="SET",
        completion="datasets",
    )
    train_split: str = option(TRAIN, help="Split whose images are the bank.", metavar="NAME")
    bank_images: int | None = option(
        None, help="Images of the bank, balanced over the classes and drawn by --seed; default: all.", metavar="N",
        least=1,
    )  # fmt: skip
    methods: tuple[str, ...] = option(METHODS, help="knn, linear; default: both.", metavar="NAMES", example="knn")
    k: tuple[int, ...] | None = option(
        None,
        help="Numbers of neighbours; default: 10,20,100,200, without those that the bank is too small for.",
        metavar="NUMBERS",
        example="10,20",
    )
    temperature: float = option(
        TEMPERATURE, help="Neighbours vote with exp(cosine / temperature).", metavar="VALUE", example="0.07"
    )
    solver: Literal["sgd", "logistic"] = option(
        "sgd", help="Of the linear probe: sgd (a sweep of learning rates) or logistic (L2, L-BFGS).", metavar="NAME"
    )
    epochs: int = option(100, help="Passes of SGD over the bank.", metavar="N", least=1, most=10_000)

    def __post_init__(self) -> None:
        super().__post_init__()
        for method in self.methods:
            if method not in METHODS:
                raise UnknownNameError("value for --methods", method, METHODS)
        if not self.methods:
            raise ConfigError(f"at least one of {', '.join(METHODS)}", "none", "change --methods")
        if self.k is not None and (not self.k or min(self.k) < 1):
            got = ", ".join(map(str, self.k)) or "none"
            raise ConfigError("numbers of neighbours of at least 1", got, "change --k")
        if not 0 < self.temperature < math.inf:
            raise ConfigError("a temperature above 0", f"{self.temperature:g}", "change --temperature")

    def definition(self, task: str) -> str:
        """The table's `definition` of knn, linear or features. What differs from the defaults is in its name."""
        words = {"knn": "knn", "linear": f"sgd{self.epochs}" if self.solver == "sgd" else self.solver}
        own = [words.get(task, task)]
        own += [f"t{self.temperature:g}"] if task == "knn" and self.temperature != TEMPERATURE else []
        own += [f"bank{self.bank_images}"] if self.bank_images is not None else []
        own += [self.train_split] if self.train_split != TRAIN else []
        return f"probe.{'_'.join(own).replace('.', '_')}.v1"  # a point would end a word of the name

    def neighbours(self, bank: int) -> tuple[int, ...]:
        """The numbers of neighbours, rising, for a bank of so many images. Raises ConfigError if it is too small."""
        wanted = sorted(set(DEFAULT_K if self.k is None else self.k))
        large = [k for k in wanted if k > bank]
        if large and (self.k is not None or len(large) == len(wanted)):
            least = max(wanted) if self.k is not None else min(wanted)
            got = f"{bank} for k = {', '.join(map(str, large))}"
            raise ConfigError(f"a bank of at least {least} images", got, "lower --k, or raise --bank-images")
        return tuple(k for k in wanted if k <= bank)

    def analysis(self, run: RunSettings, store: Store, listener: Listener | None = None) -> Analysis:
        from stmbench.analyses.probe.analysis import Probe

        return Probe(self, self.request(run), store, control=run.control, listener=listener)

    def passes(self, images: int) -> float:
        return float(images + (4 * images if self.bank_images is None else self.bank_images))
