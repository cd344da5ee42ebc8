"""Who wrote a checkpoint, seen from its names: the one place that knows how a file's tensors become a model's."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from stmbench.checkpoints import container, cotnet, stm_evaluation
from stmbench.checkpoints.naming import is_counter, plain


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """Checkpoints that name their tensors alike.

    Attributes:
        title: for people.
        recognised: matches a plain name that every such checkpoint has, and no other.
        renamed: plain name -> the model's; None for a tensor that is not kept.
        reshaped: (the model's name, value, the model's shape) -> value in the model's layout.
    """

    title: str
    recognised: re.Pattern[str]
    renamed: Callable[[str], str | None]
    reshaped: Callable[[str, Tensor, tuple[int, ...]], Tensor]


def _as_it_is(name: str) -> str:
    return name


def _unchanged(name: str, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    return value


AUTHORS: tuple[Family, ...] = (
    Family(
        title="unified models of STM-Evaluation (Hu et al.)",
        recognised=stm_evaluation.RECOGNISED,
        renamed=stm_evaluation.renamed,
        reshaped=stm_evaluation.reshaped,
    ),
    Family(
        title="CONTAINER (Gao et al.)",
        recognised=container.RECOGNISED,
        renamed=container.renamed,
        reshaped=container.reshaped,
    ),
    Family(
        title="CoTNet (Li et al.)",
        recognised=cotnet.RECOGNISED,
        renamed=cotnet.renamed,
        reshaped=cotnet.reshaped,
    ),
)
OURS = Family(
    title="stmbench",
    recognised=re.compile(r"^stages\.\d+\.blocks\.\d+\.mixer\."),
    renamed=_as_it_is,
    reshaped=_unchanged,
)
OTHER = Family(
    title="none that is known (names are taken as they are, such as timm's)",
    recognised=re.compile(""),
    renamed=_as_it_is,
    reshaped=_unchanged,
)


def family_of(state: Iterable[str]) -> Family:
    """The family of a state dict, or of the names in it; `OTHER` where nothing is recognised."""
    names = [plain(name) for name in state]
    for family in (*AUTHORS, OURS):
        if any(map(family.recognised.match, names)):
            return family
    return OTHER


def num_classes_of(state: Mapping[str, Tensor], classifier: str) -> int | None:
    """Rows of the classifier of a state dict under any family's names; None where it has no such tensor.

    Args:
        classifier: the model's name of it, as in timm's default_cfg ('head.fc').
    """
    family, wanted = family_of(state), f"{classifier}.weight"
    for name, value in state.items():
        if is_counter(name) or value.ndim < 2:
            continue
        if wanted in (name, plain(name), family.renamed(plain(name))):
            return len(value)
    return None
