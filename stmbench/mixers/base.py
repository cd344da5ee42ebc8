"""The mixer contract: what a spatial token mixer takes, what it declares about itself, how it is registered.

A mixer is an `nn.Module` that maps (B, H, W, C) -> (B, H, W, C) for any H and W, channels last. It mixes positions and
nothing else: norm, residual, layer scale and MLP belong to the architecture. It is built from one frozen config
dataclass; whatever depends on the block is decided by `config_at(position)`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from torch import Tensor, nn

from stmbench import mixers
from stmbench.errors import ConfigError, PluginError, UnknownNameError, require, require_finite
from stmbench.registry import Registry

SCALES = ("nano", "micro", "tiny", "small", "base")
LAYOUTS = ("matched", "authors")
DEFAULT_PRESETS = "halo_attn"  # the mixer whose network serves mixers without presets
# on its way from a model's name to the mixer, an option with one of these names would be taken for something else
RESERVED_OPTIONS = (
    *("name", "mixer", "scale", "layout", "architecture", "backbone", "config", "preset", "position"),  # of builders
    *("dims", "depths", "mlp_ratios", "norm_eps", "position_embedding", "design", "layer_scale", "drop_path_rate"),
    *("num_classes", "in_chans", "img_size", "merged"),  # of networks, like those above
    *("model_name", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"),  # timm's
    *("scriptable", "exportable", "no_jit", "features_only", "out_indices", "feature_cls"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockPosition:
    """The block that a mixer is built for.

    Attributes:
        stage, block: 0-based; `block` is counted within the stage.
        dim: channels.
        resolution: (H, W) of the map at the design size.
        index: 0-based, counted through the whole network.
        depth: how many blocks the network has.
    """

    stage: int
    block: int
    dim: int
    resolution: tuple[int, int]
    index: int = 0
    depth: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixerConfig:
    """Base of every mixer's config: `dim` channels in and out, no number NaN or infinite. Subclasses add fields and
    check them."""

    dim: int

    def __post_init__(self) -> None:
        require_finite({field.name: getattr(self, field.name) for field in dataclasses.fields(self)})
        require(self.dim >= 1, "dim >= 1", self.dim)


FourSizes = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """The network that a mixer is put into at one scale: four stages."""

    dims: FourSizes
    depths: FourSizes
    mlp_ratios: tuple[float, float, float, float] = (4, 4, 4, 4)
    norm_eps: float = 1e-6  # of the block's LayerNorms
    drop_path: float = 0.0  # of the last block; grows linearly from 0
    position_embedding: tuple[bool, bool, bool, bool] = (False, False, False, False)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # passed to config_at


@dataclasses.dataclass(frozen=True, kw_only=True)
class ZeroGradient:
    """Parameters, or a part of one, whose gradient is zero by construction."""

    parameter: str
    part: str
    reason: str
    whole: bool = False  # True: no element of the parameter gets a gradient


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixerEntry:
    """What the registry knows about a mixer. `stmbench list mixers` prints the papers' Table I from these fields."""

    name: str
    module: type[nn.Module]
    config: type[MixerConfig]
    config_at: Callable[..., MixerConfig]
    title: str
    abbreviation: str
    family: str
    sampling: Literal["local", "global", "learned"]
    weights: Literal["static", "dynamic", "both"]
    mixing_weights: tuple[str, str] | None = None  # alpha, beta; None: as `weights` implies
    method: str = ""  # the network it comes from, as Table I prints it
    citation: str = ""
    depends_on_n: bool = False
    zero_gradient: tuple[ZeroGradient, ...] = ()
    palette_slot: int | None = None
    presets: Mapping[str, Preset] = dataclasses.field(default_factory=dict)
    # the authors' own networks by scale, where presets are matched in cost: `layout=authors`
    layouts: Mapping[str, Preset] = dataclasses.field(default_factory=dict)
    # kinds of operation that the source paper's cost table counts; None where there is no published figure
    published_convention: frozenset[str] | None = None
    channel_multiple: int | None = None  # dims must be a multiple of it (the head width); None: found by trying
    any_size: bool = True  # False: it takes only maps of its position's resolution
    dtypes: tuple[str, ...] = ()  # the only ones that it computes in ("float32"); none named: all
    devices: tuple[str, ...] = ()  # the only types that it runs on ("cuda"); none named: all
    nondeterministic_backward: str = ""  # why its gradients differ from run to run (atomic additions on CUDA)
    own_init: bool = False  # whether the architecture keeps the mixer's initial weights
    softmax_rows: bool = False  # True: the rows of its affinity are non-negative and sum to one
    plugin_sha256: str | None = None

    @property
    def is_of_this_process(self) -> bool:
        """Whether a notebook or script registered it: it is neither stmbench's own nor a plug-in's."""
        return self.plugin_sha256 is None and self.module.__module__.partition(".")[0] != "stmbench"

    def preset(self, scale: str, layout: str = "matched") -> Preset:
        """The network at `scale`: the mixer's own, or the default mixer's; or, with `layout` authors, its authors'.

        Raises:
            UnknownNameError: another scale. ConfigError: another layout, or one that the mixer does not have.
        """
        if scale not in SCALES:
            raise UnknownNameError("scale", scale, SCALES)
        require(layout in LAYOUTS, f"layout {' or '.join(LAYOUTS)}", layout)
        if layout == "authors":
            known = ", ".join(self.layouts) or "none"
            require(scale in self.layouts, f"a scale of {self.name} with an authors' layout ({known})", scale)
            return self.layouts[scale]
        if scale in self.presets:
            return self.presets[scale]
        default = MIXERS.get(DEFAULT_PRESETS).presets[scale]
        return dataclasses.replace(default, options={})

    @property
    def alpha_beta(self) -> tuple[str, str]:
        """Shares of the dynamic and the static affinity (Gao et al. 2021, Table 2): numbers, "learned" or "-"."""
        if self.mixing_weights is not None:
            return self.mixing_weights
        return {"dynamic": ("1", "0"), "static": ("0", "1"), "both": ("learned", "learned")}[self.weights]

    @property
    def has_own_presets(self) -> bool:
        """Whether the mixer has a network of its own."""
        return bool(self.presets)

    def options(self) -> dict[str, inspect.Parameter]:
        """The mixer's options: keyword parameters of `config_at` besides the position."""
        parameters = list(inspect.signature(self.config_at).parameters.values())[1:]
        return {p.name: p for p in parameters}

    def build(self, position: BlockPosition, **options: Any) -> nn.Module:
        """The module for one block. Raises ConfigError for an unknown option, a number that is not finite, or a value
        that the config refuses."""
        known = self.options()
        for key in options:
            if key not in known:
                raise ConfigError(
                    f"an option of {self.name} ({', '.join(known) or 'it has none'})", repr(key), "remove or rename it"
                )
        require_finite(options)  # before config_at calculates with them
        return self.module(self.config_at(position, **options))


MIXERS: Registry[MixerEntry] = Registry("mixer", load=mixers.load_registered, admit=mixers.admit)
M = TypeVar("M", bound=type[nn.Module])


def register_mixer(
    name: str,
    *,
    config: type[MixerConfig],
    config_at: Callable[..., MixerConfig] | None = None,
    title: str | None = None,
    **facts: Any,
) -> Callable[[M], M]:
    """Class decorator that puts a mixer into the registry.

    Args:
        name: lower_case name; the mixer's models are called `<architecture>_<name>_<scale>`.
        config: the frozen dataclass its constructor takes.
        config_at: (position, *, option=default, ...) -> config; by default `config(dim=position.dim)` with
            every other field of the config as an option.
        title: the name in tables and figures.
        **facts: other fields of `MixerEntry`; `sampling` and `weights` default to "local" and "static".

    Raises:
        DuplicateNameError: the name is taken.
        PluginError: a fact that `MixerEntry` does not have, or an option named like one of the `RESERVED_OPTIONS`.
    """

    def decorate(module: M) -> M:
        fields = {f.name for f in dataclasses.fields(MixerEntry)}
        for key in facts:
            if key not in fields:
                raise PluginError(f"a fact of a mixer ({', '.join(sorted(fields))})", repr(key), "remove or rename it")
        shown = title or name.replace("_", " ")
        defaults: dict[str, Any] = {"abbreviation": shown, "family": "", "sampling": "local", "weights": "static"}
        place = config_at or _default_config_at(config)
        entry = MixerEntry(
            name=name, module=module, config=config, config_at=place, title=shown, **{**defaults, **facts}
        )
        _refuse_reserved(entry)
        MIXERS.register(name, entry)
        return module

    return decorate


def _refuse_reserved(entry: MixerEntry) -> None:
    taken = [option for option in entry.options() if option in RESERVED_OPTIONS]
    if taken:
        expected = f"option names of {entry.name} other than {', '.join(sorted(RESERVED_OPTIONS))}"
        raise PluginError(expected, ", ".join(taken), "rename the option in its config_at or config")


def _default_config_at(config: type[MixerConfig]) -> Callable[..., MixerConfig]:
    def config_at(position: BlockPosition, **options: Any) -> MixerConfig:
        return config(dim=position.dim, **options)

    # options() reads the signature, so it must name the config's own fields
    parameters = [inspect.Parameter("position", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    for field in dataclasses.fields(config):
        if field.name != "dim":
            default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
            parameters.append(inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default))
    config_at.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return config_at


class Mixer(nn.Module):
    """A base class for the typed interface. A mixer may also be any other `nn.Module` of the same form."""

    config: MixerConfig

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def reference(self, x: Tensor) -> Tensor:
        """The same map, written to be read; tests compare the fast path with it."""
        return self.forward(x)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay should skip (position tables)."""
        return set()

    def merge(self) -> nn.Module:
        """The form to deploy: the same map in eval mode with fewer operations (kernels and norms merged), as a new
        module of new tensors in eval mode. The mixer itself where there is nothing to merge, or no longer."""
        return self

    def from_published(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The state dict of the authors' own module under this module's names and in its layout.

        Names that are unknown stay as they are: `load_checkpoint`, which calls this, names them in its error.
        """
        return state

    def resized_tensor(self, name: str, value: Tensor) -> Tensor | None:
        """A checkpoint's tensor `name`, made for another size of map, at this module's size, as forward does it.
        None where more differs than that size, or where the tensor does not tell it.

        `load_checkpoint` asks the innermost module that has this method. Tables that it knows by name (relative_bias
        and others) need none.
        """
        return None

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds for one image of height x width tokens, by formula."""
        raise TypeError(f"{type(self).__name__} does not define macs")
