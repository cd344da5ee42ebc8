"""Models for an analysis: by name, seeded, in the right mode, on the right device; and what their names say."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from stmbench.analyses.options import Options, flag
from stmbench.analyses.registry import ANALYSES, AnalysisSpec
from stmbench.architectures import given_models
from stmbench.architectures.backbone import Backbone
from stmbench.architectures.base import ARCHITECTURES
from stmbench.architectures.catalog import ModelName, create_model, is_pattern, list_models
from stmbench.architectures.detectors.base import DETECTORS, PATCH, sides_of
from stmbench.architectures.meta_device import on_meta_device
from stmbench.errors import ConfigError, InputError, StmbenchError, UnknownNameError, reason_of
from stmbench.measure.environment import version_of
from stmbench.mixers import trials
from stmbench.mixers.base import MIXERS, MixerEntry
from stmbench.plugins import TIMM_MODEL, sha256_of
from stmbench.tables.labels import random_label

SURE = 32  # pixels a side: from here on no network is known to be too deep
DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What a model's name says; `mixer` and `scale` are None for timm's models."""

    architecture: str
    mixer: str | None
    scale: str | None

    @property
    def entry(self) -> MixerEntry | None:
        """The mixer's registry entry."""
        return MIXERS.get(self.mixer) if self.mixer is not None else None


def facts_of(name: str) -> ModelFacts:
    """The facts of a model's name. Raises UnknownNameError."""
    parsed = ModelName.parse(name)
    return ModelFacts(architecture=parsed.architecture, mixer=parsed.mixer, scale=parsed.scale)


def for_models(spec: AnalysisSpec, options: Options, models: Sequence[str]) -> tuple[AnalysisSpec, Options]:
    """The analysis and its options, or those that take their place for detectors.

    What was not chosen has the other analysis's default.

    Raises:
        ConfigError: a choice that detectors do not have.
    """
    if not spec.of_detectors or all(ModelName.parse(name).detector is None for name in models):
        return spec, options
    other = ANALYSES.get(spec.of_detectors)
    assert other.options is not None, other.name
    known = {field.name for field in dataclasses.fields(other.options)}
    usual = {field.name: field.default for field in dataclasses.fields(options)}
    chosen = {name: value for name, value in vars(options).items() if value != usual[name]}
    for name, value in chosen.items():
        if name not in known and value != options.in_experiments.get(name):
            raise ConfigError(f"no {flag(name)} for detectors", str(value), "leave it out")
    return other, other.options(**{name: value for name, value in chosen.items() if name in known})


def mixers_of_this_process(names: Iterable[str]) -> list[str]:
    """Mixers of these models that no other process knows: registered in a notebook or script, not by a plug-in."""
    mixers = dict.fromkeys(facts_of(name).mixer for name in names)
    return [name for name in mixers if name is not None and MIXERS.get(name).is_of_this_process]


def plugin_hashes(names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of code that is not stmbench's.

    Mixer or timm model -> its plug-in; mixer of this process -> its classes; given module -> its fingerprint.
    """
    names = list(names)
    hashes: dict[str, str | None] = {}
    for name in map(ModelName.parse, names):
        if name.mixer is not None:
            entry = MIXERS.get(name.mixer)
            classes = (entry.module, entry.config) if entry.is_of_this_process else ()
            own = " ".join(given_models.class_hash(kind) for kind in classes)  # type: ignore[arg-type]
            hashes[name.mixer] = hashlib.sha256(own.encode()).hexdigest() if classes else entry.plugin_sha256
        elif name.architecture == "timm":
            hashes[name.backbone_base] = sha256_of(TIMM_MODEL, name.backbone_base.removeprefix("timm:"))
    given = given_models.fingerprints_of(ModelName.parse(name).backbone_base for name in names)
    return {**{name: sha256 for name, sha256 in hashes.items() if sha256}, **given}


def packages_of(names: Iterable[str], software: Mapping[str, Any]) -> dict[str, str | None]:
    """Packages whose code is part of these models (timm's, and detectors), with their versions in `software`."""
    packages: dict[str, str | None] = {}
    for name in map(ModelName.parse, names):
        packages |= {"timm": software["timm"]} if name.architecture == "timm" else {}
        own = () if name.detector is None else DETECTORS.get(name.detector).packages
        packages |= {package: software[package] if package in software else version_of(package) for package in own}
    return packages


def own_weights(name: str, seed: int) -> str:
    """The table's `weights` of a model without a checkpoint: random ones, or those that a given module brings."""
    return given_models.given_weights(name) if given_models.is_given(name) else random_label(seed)


def mixer_facts(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """mixer -> title, abbreviation, palette slot and family, as figures need them.

    Models without a mixer are among them under their own names, as figures draw them too: those of timm have its name
    as family, modules of the caller are their own.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        entry, family = facts_of(name).entry, "timm" if facts_of(name).architecture == "timm" else ""
        found[name if entry is None else entry.name] = {
            "title": name if entry is None else entry.title,
            "abbreviation": name if entry is None else entry.abbreviation,
            "palette_slot": None if entry is None else entry.palette_slot,
            "family": family if entry is None else entry.family,
        }
    return found


def outputs_of(name: str, model: nn.Module) -> dict[str, dict[str, int]]:
    """A unit's metadata: `outputs`, how many the model's head has; nothing where it has no classes."""
    count = getattr(model, "num_classes", None)
    return {"outputs": {name: count}} if isinstance(count, int) and count > 0 else {}


def build_model(
    name: str,
    *,
    seed: int,
    device: str = "cpu",
    dtype: str = "fp32",
    channels_last: bool = False,
    train: bool = False,
) -> nn.Module:
    """A model with random weights that depend on `seed` alone (a given module has its own), in eval mode by default.

    Args:
        dtype: of the weights: fp32 (and tf32), bf16, fp16.
        channels_last: whether 4-D weights are stored channels last.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = create_model(name)
    model = model.to(device=device, dtype=DTYPES[dtype])
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    return model.train(train)


def require_support(name: str, *, device: str, dtype: str) -> None:
    """Raise ConfigError if a model's mixer does not run on this device, or does not compute in this dtype."""
    if (entry := facts_of(name).entry) is not None:
        trials.require_support(entry, device=device, dtype=DTYPES[dtype])


def counting_device(name: str) -> str:
    """Where a model is built for its operations to be counted: on the CPU, or else where its mixer runs."""
    entry = facts_of(name).entry
    return str((None if entry is None else trials.device_of(entry)) or "cpu")


def meta_model(name: str, **options: Any) -> nn.Module:
    """The model on the meta device if possible, for its modules and shapes: without memory for its weights."""
    if given_models.is_given(name):
        return given_models.copy_of(name, without_storage=True)
    try:
        with on_meta_device():
            return create_model(name, **options)
    except StmbenchError:
        raise
    except Exception:  # whatever a builder may run into that computes with values, which meta tensors lack
        return create_model(name, **options)


def design_size(name: str) -> tuple[int, int]:
    """(H, W) that the model was designed for; of a detector the size that it gives the most oblong wide images."""
    model = meta_model(name)
    if ModelName.parse(name).detector is not None:
        return sides_of(model)
    _, height, width = getattr(model, "default_cfg", {}).get("input_size", (3, 224, 224))
    return height, width


def require_resolution(model: nn.Module, name: str, size: tuple[int, int]) -> None:
    """Whether an image of `size` (H, W) gets through a model on the CPU in eval mode; only small ones are tried.

    Raises:
        InputError: it does not; names the only size, or the smallest square, that does. Detectors take images of
            PATCH and more.
    """
    if isinstance(model, Backbone) and model.only_size is not None:
        model.require_size(*size)
    if min(size) >= SURE:
        return
    if ModelName.parse(name).detector is not None:
        got = f"{size[0]}x{size[1]}"
        raise InputError(f"a resolution that {name} can take", got, f"use --resolution {PATCH} or more")
    reason = _obstacle(model, size)
    if reason is None:
        return
    limit = next((side for side in range(min(size) + 1, 2 * SURE + 1) if _obstacle(model, (side, side)) is None), None)
    remedy = "use its own resolution" if limit is None else f"use --resolution {limit} or more, the network's limit"
    raise InputError(f"a resolution that {name} can take", f"{size[0]}x{size[1]} ({reason})", remedy)


def _obstacle(model: nn.Module, size: tuple[int, int]) -> str | None:
    """Why an image of this size does not get through; None where it does."""
    like = next(model.parameters(), torch.empty(0))
    channels = int(getattr(model, "default_cfg", {}).get("input_size", (3,))[0])
    try:
        with torch.inference_mode():
            model(torch.zeros(1, channels, *size, dtype=like.dtype, device=like.device))
    except InputError as error:
        return f"{error.expected} expected"
    except Exception as error:
        return (str(error).splitlines() or [type(error).__name__])[0][:100]
    return None


def by_name(names: Sequence[str]) -> tuple[str, ...]:
    """Models by name; `*`, `?` outside brackets make a shell pattern.

    Raises:
        UnknownNameError: a name that matches none.
        ConfigError: an option that the model does not have, or not with this value.
    """
    chosen: list[str] = []
    for name in names:
        if is_pattern(name):
            matches = list_models(name)
            if not matches:
                raise UnknownNameError("model or a pattern that matches one", name, list_models())
            chosen += matches
        else:
            chosen.append(ModelName.parse(name).text)
            check_options(chosen[-1])
    return tuple(dict.fromkeys(chosen))


def check_options(name: str) -> None:
    """Refuse options with which the model cannot be built; it is built for that, without memory for its weights.

    A model that cannot be built without them either is for the run to report, beside the others.

    Raises:
        ConfigError: what the model says of its options, or runs into because of them.
    """
    if "[" not in name:
        return
    try:
        meta_model(name)
    except StmbenchError:
        raise
    except Exception as error:
        if _can_be_built(base := ModelName.parse(name).base):
            raise ConfigError(f"options that {base} can be built with", reason_of(error), "change them") from error


def _can_be_built(name: str) -> bool:
    try:
        meta_model(name)
    except Exception:
        return False
    return True


def by_scale(scale: str, *, mixers: Sequence[str] = (), architecture: str = "unified") -> tuple[str, ...]:
    """The models of one scale, of the mixers named, or else of the architecture's own and of all plug-ins.

    Raises UnknownNameError for an unknown architecture or mixer.
    """
    entry = ARCHITECTURES.get(architecture)
    plugins = [name for name in MIXERS if MIXERS.get(name).plugin_sha256]
    chosen = [name for name in mixers if MIXERS.get(name)] or [*entry.mixers, *plugins]
    return tuple(ModelName.parse(f"{architecture}_{mixer}_{scale}").text for mixer in dict.fromkeys(chosen))
