"""Families of published weights: one file of this folder each, which registers itself.

container        CONTAINER (Gao et al.)
cotnet           CoTNet (Li et al.)
stm_evaluation   the unified models of STM-Evaluation (Hu et al.)

A family's file has all that is known about its checkpoints: how they are recognised, how their tensors are renamed and
reshaped into ours, which of them depend on a window or a resolution, and what their authors call the files. To support
another family, add a file here; nothing else changes. `family_of` finds the family of a state dict.

Tables of positions are resized for another window or resolution as their models' authors do it: the unified models'
embeddings bilinear and halo attention's offsets linear, both with aligned corners (Hu et al.); tables of windows
bicubic (Swin); embeddings of patches bicubic and antialiased (timm). None: more than the window or resolution differs.
Tensors of mixers that are made for one size of map and resized in the forward pass are resized by the mixer itself
(`Mixer.resized_tensor`).
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from stmbench.architectures.layers import resized_position
from stmbench.architectures.model_names import ModelName
from stmbench.checkpoints.selection import is_counter, plain
from stmbench.registry import Registry

Shape = tuple[int, ...]
Resize = Callable[[Tensor, Shape], Tensor | None]  # (table, the model's shape) -> the table at that shape
_MAX_EXTRA = 5  # rows that are no position: class, distillation and register tokens


def resize_map(table: Tensor, shape: Shape) -> Tensor | None:
    """A position embedding (1, H, W, C), bilinear."""
    return resized_position(table, *shape[1:3]) if len(shape) == 4 and table.shape[-1] == shape[-1] else None


def resize_offsets(table: Tensor, shape: Shape) -> Tensor | None:
    """Relative offsets (2 S - 1, d) along one axis of a window of side S, linear."""
    if len(shape) != 2 or table.shape[1] != shape[1]:
        return None
    return F.interpolate(table.T[None], shape[0], mode="linear", align_corners=True)[0].T


def resize_displacements(table: Tensor, shape: Shape) -> Tensor | None:
    """A bias (heads, 2 H - 1, 2 W - 1) that is sampled between its entries, bilinear, the ends kept at the ends."""
    if len(shape) != 3 or table.shape[0] != shape[0]:
        return None
    return F.interpolate(table[None], shape[1:], mode="bilinear", align_corners=True)[0]


def resize_windows(table: Tensor, shape: Shape) -> Tensor | None:
    """A bias ((2 S - 1)^2 + extra, heads) or (heads, 2 S - 1, 2 S - 1) for windows of side S, bicubic."""
    if len(shape) == 3 and table.shape[0] == shape[0]:
        return F.interpolate(table[None], shape[1:], mode="bicubic")[0]
    if len(shape) != 2 or table.shape[1] != shape[1]:
        return None
    for extra in range(_MAX_EXTRA):
        old, new = _side(table.shape[0] - extra), _side(shape[0] - extra)
        if old and new and old % 2 and new % 2:
            positions, rest = table[: old * old], table[old * old :]
            grid = F.interpolate(positions.T.reshape(1, -1, old, old), (new, new), mode="bicubic")
            return torch.cat([grid.reshape(-1, new * new).T, rest])
    return None


def resize_patches(table: Tensor, shape: Shape) -> Tensor | None:
    """A position embedding (1, extra + N, C), (1, C, H, W) or (1, H, W, C) of a square grid, bicubic, antialiased."""
    if len(shape) == 4:
        first = table.shape[1] == shape[1]
        grid = table if first else table.permute(0, 3, 1, 2)
        size = shape[2:] if first else shape[1:3]
        resized = F.interpolate(grid, size, mode="bicubic", antialias=True)
        return resized if first else resized.permute(0, 2, 3, 1)
    if len(shape) != 3 or table.shape[2] != shape[2]:
        return None
    from timm.layers.pos_embed import resample_abs_pos_embed

    for extra in range(_MAX_EXTRA):
        old, new = _side(table.shape[1] - extra), _side(shape[1] - extra)
        if old and new:
            resized = resample_abs_pos_embed(table, [new, new], [old, old], num_prefix_tokens=extra)
            return resized if isinstance(resized, Tensor) else None
    return None


def _side(count: int) -> int | None:
    """Side of a square grid of `count` positions; None if it is no square."""
    side = math.isqrt(max(count, 0))
    return side if side > 1 and side * side == count else None


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
    tables: Mapping[str, Resize] = dataclasses.field(default_factory=dict)
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
        "position": resize_map,
        "height_rel": resize_offsets,
        "width_rel": resize_offsets,
        "relative_bias": resize_windows,
        "bias_table": resize_displacements,
    },
)
OTHER = Family(
    name="other",
    title="no known family (names are used as they are, such as timm's)",
    recognised=re.compile(""),
    tables={
        "rel_pos_h": resize_offsets,
        "rel_pos_w": resize_offsets,
        "relative_position_bias_table": resize_windows,
        "pos_embed": resize_patches,
        "position_embedding": resize_patches,
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
    resized = resize(precise(value), shape)
    return resized if resized is not None and resized.shape == shape else None


def precise(value: Tensor) -> Tensor:
    """In float32 or better, which interpolation needs."""
    return value if value.element_size() >= 4 else value.float()


def class_keys() -> tuple[str, ...]:
    """Keys under which checkpoints keep the names of their classes."""
    return tuple(dict.fromkeys(key for family in families() for key in family.class_keys))


def published_file_stems(model: ModelName) -> list[str]:
    """What the authors call the files with a model's weights, without suffix; a detector's are not its backbone's."""
    if model.detector is not None:
        return []
    return [stem for family in families() if (stem := family.file_stem(model)) is not None]
