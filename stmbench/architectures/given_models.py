"""Models given as objects: a module of the user, of timm, torchvision or Hugging Face, behind a name.

`model_name_of(module)` registers a module in this process and returns `module:ResNet-3fa9c1d2`: its class and the start
of its fingerprint. The name is taken wherever a model's name is, and `create_model` gives a deep copy for it, so that
the module itself is never moved, switched to another mode or changed.
"""

from __future__ import annotations

import copy
import dataclasses
import fnmatch
import hashlib
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from stmbench.architectures.feature_nodes import with_nodes
from stmbench.architectures.fingerprints import code_hash, weights_hash
from stmbench.architectures.input_config import input_config, patch_size_of, timm_config
from stmbench.architectures.model_names import MODULE
from stmbench.errors import ConfigError, InputError, UnknownNameError, require

WEIGHTS: Final = "given:"  # the table's `weights` of a given module; behind it the start of the weights' hash
_SHOWN: Final = 8  # digits of a hash in a name
_LABEL: Final = re.compile(r"[\w.+-]+")
_ATTRIBUTE: Final = "_stmbench_features"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GivenModel:
    """A module, and what has to be known of it beside its code.

    Attributes:
        module: (B, 3, H, W) -> logits (B, classes), or a tuple, dict or output object that holds them.
        name: what to call it; its timm name or its class's by default.
        input_size: a side, or (H, W), of its images; mean, std: of each channel; interpolation, crop_pct: as timm's.
            Those that are None are taken from `transforms`, the module's own config (timm's `pretrained_cfg`, Hugging
            Face's `config.image_size`), or are those of ImageNet at 224 pixels.
        transforms: torchvision's `weights.transforms()`, or a Hugging Face image processor.
        num_classes: of its logits; None asks the module.
        stage_modules: dotted paths of the modules whose outputs are the stages' maps.
        return_nodes: in place of them, nodes of its graph as in torchvision's `create_feature_extractor`.
        prefix_tokens: tokens before those of the map (class and register tokens); None works it out.
        mixer: pattern of the dotted paths of its mixers (`blocks.*.attn`), for their Jacobian affinity.

    Raises:
        ConfigError: a value that makes no sense, or a path that the module has not.
    """

    module: nn.Module
    name: str | None = None
    input_size: int | tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str | None = None
    crop_pct: float | None = None
    transforms: Any = None
    num_classes: int | None = None
    stage_modules: tuple[str, ...] = ()
    return_nodes: tuple[str, ...] = ()
    prefix_tokens: int | None = None
    mixer: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.module, nn.Module):
            raise ConfigError("a torch.nn.Module", type(self.module).__name__, "give the module, or a model's name")
        put = object.__setattr__
        put(self, "module", _unwrapped(self.module))
        for field in ("stage_modules", "return_nodes"):  # lists, and torchvision's dicts of node: label
            if isinstance(value := getattr(self, field), str):
                raise ConfigError(f"a list of names in {field}", repr(value), "put it into brackets")
            put(self, field, tuple(value))
        for field in ("mean", "std"):
            if (value := getattr(self, field)) is not None:
                put(self, field, tuple(map(float, value)))
                require(len(getattr(self, field)) == 3, f"a {field} for each of three channels", value)
        require(
            self.name is None or bool(_LABEL.fullmatch(self.name)), "a name of letters, digits, . _ + and -", self.name
        )
        require(self.std is None or min(self.std) > 0, "a std above 0", self.std)
        require(self.num_classes is None or self.num_classes > 0, "a number of classes of at least 1", self.num_classes)
        require((self.prefix_tokens or 0) >= 0, "a number of prefix tokens of at least 0", self.prefix_tokens)
        require(self.crop_pct is None or self.crop_pct > 0, "a crop_pct above 0", self.crop_pct)
        size = (self.input_size,) if isinstance(self.input_size, int) else self.input_size or ()
        require(len(size) in (0, 1, 2) and all(side >= 1 for side in size), "a side, or (H, W)", self.input_size)
        if self.stage_modules and self.return_nodes:
            raise ConfigError("stage_modules or return_nodes", "both", "leave one of them out")
        paths = [path for path, _ in self.module.named_modules() if path]
        for path in self.stage_modules:
            if path not in paths:
                raise UnknownNameError(f"module of {type(self.module).__name__}", path, paths)
        if self.mixer is not None and not paths_of(self.module, self.mixer):
            got = f"{self.mixer!r}, which no path of {type(self.module).__name__} matches"
            raise ConfigError("a pattern of module paths like blocks.*.attn", got, "see named_modules() for the paths")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureSource:
    """Where a given model's maps are: paths of stage modules (none: those of its `feature_info`), and of mixers.

    `prefix_tokens` and `patch_size` (y, x) are what is known of its tokens.
    """

    stages: tuple[str, ...] = ()
    mixers: tuple[str, ...] = ()
    prefix_tokens: int | None = None
    patch_size: tuple[int, int] | None = None


@dataclasses.dataclass(kw_only=True)
class _Entry:
    given: GivenModel
    fingerprint: str
    weights: str
    output: tuple[bool, int | None] | None = None  # whether logits have to be taken out of it, and how many there are


_GIVEN: dict[str, _Entry] = {}


def model_name_of(model: str | nn.Module | GivenModel, **options: Any) -> str:
    """The name that stands for a model in this process: of a module its class's with its fingerprint, of a name itself.

    The module is not copied: while its name is in use its weights have to stay as they are, which is checked whenever
    it is built. A module of the same class, code, settings and weights has the same name in every process.

    Args:
        options: fields of `GivenModel`, for a module.

    Raises:
        ConfigError: see `GivenModel`; a module that cannot be copied. InputError: one without weights.
    """
    if isinstance(model, str):
        if options:
            raise ConfigError("a module, to have options", f"the name {model!r}", "put its options into brackets")
        return model
    given = model if isinstance(model, GivenModel) else GivenModel(module=model)
    if options:
        given = dataclasses.replace(given, **options)
    said = {field: getattr(given, field) for field in ("input_size", "mean", "std", "interpolation", "crop_pct")}
    given = dataclasses.replace(given, transforms=None, **input_config(given.module, given.transforms, said))
    weights = weights_hash(given.module)
    facts = {field.name: getattr(given, field.name) for field in dataclasses.fields(given)}
    del facts["module"], facts["name"]
    fingerprint = hashlib.sha256(f"{code_hash(given.module)} {weights} {sorted(facts.items())}".encode()).hexdigest()
    name = f"{MODULE}{given.name or _label(given.module)}-{fingerprint[:_SHOWN]}"
    _GIVEN[name] = _Entry(given=given, fingerprint=fingerprint, weights=weights)
    return name


def release_models(names: Iterable[str]) -> None:
    """Forget the modules behind these names; other names are left alone."""
    for name in names:
        _GIVEN.pop(name, None)


def is_given(name: str) -> bool:
    """Whether a model's name stands for a module given as an object."""
    return name.startswith(MODULE)


def fingerprints_of(names: Iterable[str]) -> dict[str, str]:
    """name -> SHA-256 of everything that the module's results depend on, for those given as objects."""
    return {name: _entry(name).fingerprint for name in names if is_given(name)}


def given_weights(name: str) -> str:
    """The table's `weights` of a given module: the start of its weights' hash."""
    return f"{WEIGHTS}{_entry(name).weights[:_SHOWN]}"


def feature_source(model: nn.Module) -> FeatureSource | None:
    """What was said of a given model's maps; None for every other model."""
    found = model.__dict__.get(_ATTRIBUTE)
    return found if isinstance(found, FeatureSource) else None


def copy_of(name: str, *, without_storage: bool = False) -> nn.Module:
    """A deep copy that returns logits, with timm's `default_cfg`, its number of classes and its feature source.

    Args:
        without_storage: leave the values out, for what asks for modules and shapes alone.

    Raises:
        InputError: a name that stands for nothing here, or weights that changed since it was given.
    """
    entry = _entry(name)
    given = entry.given
    if not without_storage and weights_hash(given.module) != entry.weights:
        got = "other weights than when it was named"
        raise InputError(f"the module that {name} stands for", got, "give the module itself once more")
    network = _copied(given.module, without_storage=without_storage)
    stages = given.stage_modules or given.return_nodes
    if not all(path in dict(network.named_modules()) for path in stages):
        network, stages = with_nodes(network, stages)
    if entry.output is None and not without_storage:
        entry.output = _output_of(_copied(network, without_storage=False), _sides(given))
    held, classes = entry.output or (True, None)
    if held:
        network.register_forward_hook(_take_logits)
    classes = given.num_classes or _said_classes(network) or classes
    if classes is not None and getattr(network, "num_classes", None) != classes:
        _put(network, "num_classes", classes)
    mean, std = given.mean, given.std
    config = {"input_size": (3, *_sides(given)), "mean": mean, "std": std, "crop_pct": given.crop_pct}
    known = {**timm_config(network), **config, "interpolation": given.interpolation}
    _put(network, "default_cfg", known)
    _put(network, "pretrained_cfg", known)
    mixers = () if given.mixer is None else paths_of(network, given.mixer)
    prefix = given.prefix_tokens if given.prefix_tokens is not None else getattr(network, "num_prefix_tokens", None)
    patch = patch_size_of(network)
    _put(network, _ATTRIBUTE, FeatureSource(stages=stages, mixers=mixers, prefix_tokens=prefix, patch_size=patch))
    return network


def paths_of(module: nn.Module, pattern: str) -> tuple[str, ...]:
    """Dotted paths that match a pattern part by part (`*` is any one part), in the module's order."""
    parts = pattern.split(".")

    def matches(path: str) -> bool:
        own = path.split(".")
        return len(own) == len(parts) and all(map(fnmatch.fnmatchcase, own, parts))

    return tuple(path for path, _ in module.named_modules() if path and matches(path))


def save_given(name: str, file: Path) -> bool:
    """Write a given module for another process; False where that one could not read it.

    What lives in `__main__` (a notebook's classes) or cannot be pickled does not travel.
    """
    entry = _entry(name)
    try:
        torch.save({"name": name, **vars(entry)}, file)
    except Exception:  # pickling runs the objects' own code
        return False
    with zipfile.ZipFile(file) as archive:
        pickles = [archive.read(part) for part in archive.namelist() if part.endswith("data.pkl")]
    return not any(b"__main__" in text for text in pickles)


def load_given(file: Path) -> str:
    """Register what `save_given` wrote in a process of this user's; returns its name. The file is code: see pickle."""
    found = torch.load(file, map_location="cpu", weights_only=False)
    name = str(found.pop("name"))
    _GIVEN[name] = _Entry(**found)
    return name


def logits_of(output: Any) -> Any:
    """The logits in what a model returned: a tensor, `.logits`, ['logits'], or else the first tensor there is."""
    if isinstance(output, Tensor):
        return output
    if isinstance(found := getattr(output, "logits", None), Tensor):
        return found
    if isinstance(output, Mapping):
        output = (output["logits"],) if "logits" in output else tuple(output.values())
    items = output if isinstance(output, tuple | list) else ()
    found = (logits_of(item) for item in items)
    return next((item for item in found if isinstance(item, Tensor)), output)


def _take_logits(_module: nn.Module, _arguments: Any, output: Any) -> Any:
    return logits_of(output)


def _entry(name: str) -> _Entry:
    if name not in _GIVEN:
        remedy = "give the module itself, from Python: it is known in the process that it was given in"
        raise InputError("a model that is known here", repr(name), remedy)
    return _GIVEN[name]


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module within torch.compile's or a data-parallel wrapper."""
    inner = getattr(module, "_orig_mod", module)
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    return inner.module if isinstance(inner, parallel) else inner


def _label(module: nn.Module) -> str:
    name = str(timm_config(module).get("architecture") or "")
    return name if _LABEL.fullmatch(name) else type(module).__name__


def _sides(given: GivenModel) -> tuple[int, int]:
    size = given.input_size or 224
    return (size, size) if isinstance(size, int) else size


def _said_classes(module: nn.Module) -> int | None:
    """What the module itself says: `num_classes`, or Hugging Face's `config.num_labels`."""
    for said in (getattr(module, "num_classes", None), getattr(getattr(module, "config", None), "num_labels", None)):
        if isinstance(said, int) and said > 0:
            return said
    return None


def _copied(module: nn.Module, *, without_storage: bool) -> nn.Module:
    memo: dict[int, Any] = {}
    if without_storage:
        for tensor in module.parameters():
            memo[id(tensor)] = nn.Parameter(torch.empty_like(tensor, device="meta"), requires_grad=tensor.requires_grad)
        memo |= {id(buffer): torch.empty_like(buffer, device="meta") for buffer in module.buffers()}
    try:
        return copy.deepcopy(module, memo)
    except Exception as error:  # its own __deepcopy__ may raise anything
        remedy = "drop the tensors with a graph that it keeps"
        raise ConfigError("a module that copy.deepcopy can copy", str(error), remedy) from error


@torch.no_grad()
def _output_of(network: nn.Module, size: tuple[int, int]) -> tuple[bool, int | None]:
    """Whether the logits have to be taken out of what the module returns, and how many there are, by trying it."""
    like = next((tensor for tensor in network.parameters() if tensor.is_floating_point()), torch.empty(0))
    try:
        output = network.eval()(torch.zeros(1, 3, *size, dtype=like.dtype, device=like.device))
    except Exception:  # the analysis will say what is wrong with it
        return True, None
    logits = logits_of(output)
    is_flat = isinstance(logits, Tensor) and logits.ndim == 2
    return not isinstance(output, Tensor), int(logits.shape[1]) if is_flat else None


def _put(module: nn.Module, name: str, value: Any) -> None:
    try:
        setattr(module, name, value)
    except AttributeError as error:
        got = f"one of {type(module).__name__}'s own that cannot be set"
        raise ConfigError(f"a module whose {name} can be set", got, "make it a plain attribute") from error
