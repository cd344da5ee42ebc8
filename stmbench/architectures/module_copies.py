"""Deep copies of given modules that work like stmbench's own models: logits out, timm's config, known maps."""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, fx, nn

from stmbench.architectures.input_config import patch_size_of, timm_config
from stmbench.copies import copied
from stmbench.errors import ConfigError, UnknownNameError, require

LABEL: Final = re.compile(r"[\w.+-]+")


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
            self.name is None or bool(LABEL.fullmatch(self.name)), "a name of letters, digits, . _ + and -", self.name
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


def paths_of(module: nn.Module, pattern: str) -> tuple[str, ...]:
    """Dotted paths that match a pattern part by part (`*` is any one part), in the module's order."""
    parts = pattern.split(".")

    def matches(path: str) -> bool:
        own = path.split(".")
        return len(own) == len(parts) and all(map(fnmatch.fnmatchcase, own, parts))

    return tuple(path for path, _ in module.named_modules() if path and matches(path))


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module within torch.compile's or a data-parallel wrapper."""
    inner = getattr(module, "_orig_mod", module)
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    return inner.module if isinstance(inner, parallel) else inner


_ATTRIBUTE: Final = "_stmbench_features"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureSource:
    """Where a given model's maps are: paths of stage modules (none: those of its `feature_info`), and of mixers.

    `prefix_tokens` and `patch_size` (y, x) are what is known of its tokens.
    """

    stages: tuple[str, ...] = ()
    mixers: tuple[str, ...] = ()
    prefix_tokens: int | None = None
    patch_size: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Returned:
    """What a module returns: whether its logits have to be taken out of it, and how many there are (None: unknown)."""

    is_container: bool
    num_classes: int | None


def feature_source(model: nn.Module) -> FeatureSource | None:
    """What was said of a given model's maps; None for every other model."""
    source = model.__dict__.get(_ATTRIBUTE)
    return source if isinstance(source, FeatureSource) else None


def prepared_copy(
    given: GivenModel, returned: Returned | None, *, without_storage: bool
) -> tuple[nn.Module, Returned | None]:
    """A deep copy that returns logits, with timm's `default_cfg`, its number of classes and its feature source.

    Args:
        returned: what an earlier call found out by trying the module; None tries it, unless `without_storage`.
        without_storage: leave the values out, for what asks for modules and shapes alone.
    """
    network = _copied(given.module, without_storage=without_storage)
    stages = given.stage_modules or given.return_nodes
    if not all(path in dict(network.named_modules()) for path in stages):
        network, stages = with_nodes(network, stages)
    if returned is None and not without_storage:
        returned = _returned(_copied(network, without_storage=False), _sides(given))
    if returned is None or returned.is_container:
        network.register_forward_hook(_take_logits)
    classes = given.num_classes or _said_classes(network)
    if classes is None and returned is not None:
        classes = returned.num_classes
    if classes is not None and getattr(network, "num_classes", None) != classes:
        _put(network, "num_classes", classes)
    said = {"mean": given.mean, "std": given.std, "crop_pct": given.crop_pct, "interpolation": given.interpolation}
    config = {**timm_config(network), "input_size": (3, *_sides(given)), **said}
    for name in ("default_cfg", "pretrained_cfg"):
        _put(network, name, config)
    mixers = () if given.mixer is None else paths_of(network, given.mixer)
    prefix = given.prefix_tokens if given.prefix_tokens is not None else getattr(network, "num_prefix_tokens", None)
    patch = patch_size_of(network)
    _put(network, _ATTRIBUTE, FeatureSource(stages=stages, mixers=mixers, prefix_tokens=prefix, patch_size=patch))
    return network, returned


def logits_of(output: Any) -> Any:
    """The logits in what a model returned: a tensor, `.logits`, ['logits'], or else the first tensor there is."""
    if isinstance(output, Tensor):
        return output
    if isinstance(logits := getattr(output, "logits", None), Tensor):
        return logits
    if isinstance(output, Mapping):
        output = (output["logits"],) if "logits" in output else tuple(output.values())
    items = output if isinstance(output, tuple | list) else ()
    logits = (logits_of(item) for item in items)
    return next((item for item in logits if isinstance(item, Tensor)), output)


def _take_logits(_module: nn.Module, _arguments: Any, output: Any) -> Any:
    return logits_of(output)


def _sides(given: GivenModel) -> tuple[int, int]:
    size = given.input_size or 224
    return (size, size) if isinstance(size, int) else size


def _said_classes(module: nn.Module) -> int | None:
    """What the module itself says: `num_classes`, 0 where it gives features, or Hugging Face's `config.num_labels`."""
    if (own := getattr(module, "num_classes", None)) == 0 and isinstance(own, int):
        return 0
    for said in (getattr(module, "num_classes", None), getattr(getattr(module, "config", None), "num_labels", None)):
        if isinstance(said, int) and said > 0:
            return said
    return None


def _copied(module: nn.Module, *, without_storage: bool) -> nn.Module:
    try:
        return copied(module, without_storage=without_storage)
    except Exception as error:  # its own __deepcopy__ may raise anything
        got, remedy = f"{type(error).__name__}: {error}", "drop the attribute that cannot be copied"
        raise ConfigError("a module that copy.deepcopy can copy", got, remedy) from error


@torch.no_grad()
def _returned(network: nn.Module, size: tuple[int, int]) -> Returned:
    """What a module returns for a grey image."""
    like = next((tensor for tensor in network.parameters() if tensor.is_floating_point()), torch.empty(0))
    try:
        output = network.eval()(torch.zeros(1, 3, *size, dtype=like.dtype, device=like.device))
    except Exception:  # the analysis will say what is wrong with it
        return Returned(is_container=True, num_classes=None)
    logits = logits_of(output)
    is_flat = isinstance(logits, Tensor) and logits.ndim == 2
    return Returned(is_container=not isinstance(output, Tensor), num_classes=int(logits.shape[1]) if is_flat else None)


def _put(module: nn.Module, name: str, value: Any) -> None:
    try:
        setattr(module, name, value)
    except AttributeError as error:
        got = f"one of {type(module).__name__}'s own that cannot be set"
        raise ConfigError(f"a module whose {name} can be set", got, "make it a plain attribute") from error


def with_nodes(network: nn.Module, nodes: Sequence[str]) -> tuple[nn.Module, tuple[str, ...]]:
    """The network traced, with a module behind each of these nodes, and the paths of those.

    The traced network returns a dict, whose 'logits' are the original's output; it shares the original's modules.

    Raises:
        UnknownNameError: a node that the graph has not. ConfigError: a network that cannot be traced.
    """
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    paths = tuple(f"stage_node_{number}" for number in range(len(nodes)))
    try:
        known = get_graph_node_names(network)[1]  # of eval mode
        wanted = {known[-1]: "logits", **dict(zip(nodes, paths, strict=True))}
        for node in nodes:
            if not any(f"{name}.".startswith(f"{node}.") for name in known):  # a module stands for its last node
                raise UnknownNameError(f"node of the graph of {type(network).__name__}", node, known)
        traced = create_feature_extractor(network, return_nodes=wanted)
    except UnknownNameError:
        raise
    except Exception as error:  # tracing runs the network's own code on proxies
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError("a network that torch.fx can trace", reason, "name modules: stage_modules=[...]") from error
    for path in paths:
        traced.add_module(path, nn.Identity())
    for graph in (traced.train_graph, traced.eval_graph):
        _pass_through(graph, paths)
    traced.graph = traced.train_graph if traced.training else traced.eval_graph
    return traced, paths


def _pass_through(graph: fx.Graph, paths: Sequence[str]) -> None:
    """Let each output called by a path go through the module at that path."""
    output = next(node for node in reversed(graph.nodes) if node.op == "output")
    returned = dict(output.args[0])  # label -> node
    for path in paths:
        node = returned[path]
        with graph.inserting_after(node):
            returned[path] = graph.create_node("call_module", path, (node,))
    output.args = (returned,)
