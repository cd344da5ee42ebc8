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

import torch
from torch import Tensor, nn

from stmbench import mixers
from stmbench.errors import ConfigError, InputError, PluginError, UnknownNameError, printable, require
from stmbench.registry import Registry, require_name

SCALES = ("nano", "micro", "tiny", "small", "base")
DEFAULT_PRESETS = "halo_attn"  # the mixer whose network serves mixers without presets


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockPosition:
    """The block that a mixer is built for: 0-based stage and block, channels, (H, W) of the map at the design size."""

    stage: int
    block: int
    dim: int
    resolution: tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixerConfig:
    """Base of every mixer's config: `dim` channels in and out. Subclasses add fields and check them."""

    dim: int

    def __post_init__(self) -> None:
        require(self.dim >= 1, "dim >= 1", self.dim)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """The network that a mixer is put into at one scale: four stages."""

    dims: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    mlp_ratios: tuple[float, float, float, float] = (4, 4, 4, 4)
    norm_eps: float = 1e-6  # of the block's LayerNorms
    drop_path: float = 0.0  # of the last block; grows linearly from 0
    position_embedding: tuple[bool, bool, bool, bool] = (False, False, False, False)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # passed to config_at


def nano_preset() -> dict[str, Preset]:
    """A preset for nano alone, with heads of 16 channels, the width of its first stage: for mixers whose heads are 32
    channels wide elsewhere. At other scales the mixer is put into the default network."""
    return {"nano": Preset(dims=(16, 32, 64, 128), depths=(2, 2, 2, 2), norm_eps=1e-5, options={"head_dim": 16})}


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
    # kinds of operation that the source paper's cost table counts; None where there is no published figure
    published_convention: frozenset[str] | None = None
    channel_multiple: int = 1  # dims must be a multiple of it (the head width)
    own_init: bool = False  # whether the architecture keeps the mixer's initial weights
    softmax_rows: bool = False  # True: the rows of its affinity are non-negative and sum to one
    plugin_sha256: str | None = None

    @property
    def is_of_this_process(self) -> bool:
        """Whether a notebook or script registered it: it is neither stmbench's own nor a plug-in's."""
        return self.plugin_sha256 is None and self.module.__module__.partition(".")[0] != "stmbench"

    def preset(self, scale: str) -> Preset:
        """The network at `scale`: the mixer's own, or the default mixer's. Raises UnknownNameError."""
        if scale not in SCALES:
            raise UnknownNameError("scale", scale, SCALES)
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
        """The module for one block. Raises ConfigError for an unknown option or a value that the config refuses."""
        known = self.options()
        for key in options:
            if key not in known:
                raise ConfigError(
                    f"an option of {self.name} ({', '.join(known) or 'it has none'})", repr(key), "remove or rename it"
                )
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
        PluginError: a fact that `MixerEntry` does not have.
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
        MIXERS.register(name, entry)
        return module

    return decorate


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

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds for one image of height x width tokens, by formula."""
        raise TypeError(f"{type(self).__name__} does not define macs")


_MAPS = ((14, 14), (7, 9))  # (H, W) that a mixer is tried on
_CHOICES = (("sampling", ("local", "global", "learned")), ("weights", ("static", "dynamic", "both")))


def admit(entry: MixerEntry, sha256: str | None, *, try_out: bool) -> MixerEntry:
    """The entry with the hash of the plug-in's files.

    Args:
        try_out: also run the mixer on two small maps.

    Raises:
        PluginError: a name, class, config or fact that the registry refuses, or a mixer that does not keep the shape.
    """
    _check_facts(entry)
    if try_out:
        _check_shape(entry)
    return dataclasses.replace(entry, plugin_sha256=sha256)


def _check_facts(entry: MixerEntry) -> None:
    name = entry.name
    require_name(name)
    if not (isinstance(entry.module, type) and issubclass(entry.module, nn.Module)):
        raise PluginError(f"a torch.nn.Module class for {name}", repr(entry.module), "derive the class from nn.Module")
    if not (isinstance(entry.config, type) and issubclass(entry.config, MixerConfig)):
        raise PluginError(
            f"a config of {name} derived from MixerConfig", repr(entry.config), "write class Config(MixerConfig)"
        )
    for fact in ("title", "abbreviation", "method", "citation"):
        text = getattr(entry, fact) or ""
        if printable(text) != text or "\n" in text:
            raise PluginError(f"{fact} of {name} in printable characters", repr(text), "remove the others")
    for fact, allowed in _CHOICES:
        if getattr(entry, fact) not in allowed:
            raise PluginError(f"{fact} of {name} among {', '.join(allowed)}", repr(getattr(entry, fact)), "change it")


def _check_shape(entry: MixerEntry) -> None:
    name = entry.name
    dim = entry.channel_multiple * -(-64 // entry.channel_multiple)  # 64 channels, rounded up to the multiple
    remedy = f"run `stmbench check` on the file of {name}"
    for height, width in _MAPS:
        shape = (1, height, width, dim)
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                module = entry.build(BlockPosition(stage=2, block=1, dim=dim, resolution=(14, 14))).eval()
                output = module(torch.randn(shape))
        except KeyboardInterrupt:
            raise
        except InputError as error:
            raise PluginError(error.expected, f"{error.got} in {name}", error.remedy) from error
        except BaseException as error:
            what = f"{type(error).__name__}: {error}"
            raise PluginError(f"{name} to map {shape} to {shape}", what, remedy) from error
        got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        if got != shape:
            raise PluginError(f"{name} to map {shape} to {shape}", str(got), "return (B, H, W, C), like the input")
