"""Families of published weights: one file of this folder each, which registers itself.

container        CONTAINER (Gao et al.)
cotnet           CoTNet (Li et al.)
stm_evaluation   the unified models of STM-Evaluation (Hu et al.)

A family's file has all that is known about its checkpoints: how they are recognised, how their tensors are renamed and
reshaped into ours, which of them depend on a window or a resolution, and what their authors call the files. To support
another family, add a file here; nothing else changes. `family_of` finds the family of a state dict.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from stmbench.architectures.model_names import ModelName
from stmbench.checkpoints import position_tables
from stmbench.checkpoints.selection import is_counter, plain
from stmbench.registry import Registry


def _same_name(name: str) -> str:
    return name


def _same_shape(name: str, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    return value


def _no_file(model: ModelName) -> None:
    return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """Checkpoints whose tensors follow one naming scheme.

    Names are plain ones, without the prefixes of wrappers (see `selection.plain`).

    Attributes:
        name: lower_case.
        title: shown by `stmbench convert --inspect`.
        recognised: matches a tensor name that every checkpoint of the family has, and no other.
        renamed: the file's name of a tensor -> the model's; None for a tensor that the model computes itself.
        reshaped: (the model's name, value, the model's shape) -> value in the model's layout. If the shape still
            differs, the tensor is resized or reported by `load_checkpoint`.
        tables: last part of a model's tensor name -> how it is resized for another window or resolution.
        class_keys: keys under which the files keep the names of the classes.
        file_stem: model -> name of the authors' file without suffix; None for a model that they did not publish.
    """

    name: str
    title: str
    recognised: re.Pattern[str]
    renamed: Callable[[str], str | None] = _same_name
    reshaped: Callable[[str, Tensor, tuple[int, ...]], Tensor] = _same_shape
    tables: Mapping[str, position_tables.Resize] = dataclasses.field(default_factory=dict)
    class_keys: tuple[str, ...] = ()
    file_stem: Callable[[ModelName], str | None] = _no_file


def _load() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


FAMILIES: Registry[Family] = Registry("checkpoint family", load=_load)
OURS = Family(
    name="stmbench",
    title="stmbench",
    recognised=re.compile(r"^stages\.\d+\.blocks\.\d+\.mixer\."),
    tables={
        "position": position_tables.resize_map,
        "height_rel": position_tables.resize_offsets,
        "width_rel": position_tables.resize_offsets,
        "relative_bias": position_tables.resize_windows,
    },
)
OTHER = Family(
    name="other",
    title="no known family (names are used as they are, such as timm's)",
    recognised=re.compile(""),
    tables={
        "rel_pos_h": position_tables.resize_offsets,
        "rel_pos_w": position_tables.resize_offsets,
        "relative_position_bias_table": position_tables.resize_windows,
        "pos_embed": position_tables.resize_patches,
        "position_embedding": position_tables.resize_patches,
    },
    class_keys=("classes", "class_names", "class_to_idx", "label_names", "id2label"),
)


def register_family(family: Family) -> None:
    """Add a family. Raises DuplicateNameError if its name is taken."""
    FAMILIES.register(family.name, family)


def families() -> list[Family]:
    """Every family, `OURS` and `OTHER` last."""
    return [*(FAMILIES.get(name) for name in FAMILIES), OURS, OTHER]


def family_of(state: Iterable[str]) -> Family:
    """The family of a state dict, or of the tensor names in it; `OTHER` if none is recognised."""
    names = [plain(name) for name in state]
    return next((family for family in families()[:-1] if any(map(family.recognised.match, names))), OTHER)


def num_classes_of(state: Mapping[str, Tensor], classifier: str) -> int | None:
    """Rows of a state dict's classifier, under the names of any family; None if it has no such tensor.

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


def resized_table(name: str, value: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """A table of positions at the model's `shape`, in float32 or better.

    Args:
        name: the model's name of the tensor; its last part says which kind of table it is.
        value: the file's tensor, in the model's layout.

    Returns:
        None if `name` is no table of positions, or if more than the window or the resolution differs.
    """
    resize = {leaf: how for family in families() for leaf, how in family.tables.items()}.get(name.rpartition(".")[2])
    if resize is None or value.ndim != len(shape) or not value.is_floating_point():
        return None
    resized = resize(value if value.element_size() >= 4 else value.float(), shape)
    return resized if resized is not None and resized.shape == shape else None


def class_keys() -> tuple[str, ...]:
    """Keys under which checkpoints keep the names of their classes."""
    return tuple(dict.fromkeys(key for family in families() for key in family.class_keys))


def published_file_stems(model: ModelName) -> list[str]:
    """What the authors call the files with a model's weights, without suffix."""
    return [stem for family in families() if (stem := family.file_stem(model)) is not None]
