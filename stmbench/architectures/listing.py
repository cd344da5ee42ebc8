"""What lists and plans need to know: from the registries, or from a file of the same facts, which needs no model code.

The file is read in a fresh process where nothing but stmbench can have registered anything: importing torch for a list
or a plan would take seconds. `python -m stmbench.architectures.listing > stmbench/architectures/listing.json` writes
it, and a test compares it with the registries.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

FILE: Final = Path(__file__).with_name("listing.json")
REGISTRIES: Final = ("stmbench.mixers.base", "stmbench.architectures.base")


class Released(NamedTuple):
    """A model with a name of its own: what it is made of."""

    architecture: str
    mixer: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Names:
    """What model names are made of, each in the registry's order: name -> title, or name -> facts."""

    scales: Sequence[str]
    mixers: Mapping[str, str]
    families: Mapping[str, str]  # of mixers
    architectures: Mapping[str, str]
    released: Mapping[str, Released]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """Facts of mixers, architectures and detectors, each in the registry's order, and titles of models by name.

    `seconds` is what a forward pass of an image of a model's design size took with one thread of the machine on which
    the file was written: for a plan, which says about how long everything takes.
    """

    mixers: Sequence[Mapping[str, Any]]
    architectures: Sequence[Mapping[str, Any]]
    models: Mapping[str, str]
    detectors: Mapping[str, str]
    released: Mapping[str, Sequence[str]]
    scales: Sequence[str]
    seconds: Mapping[str, float]


def listing(plugins: Sequence[Path] | None = None) -> Listing:
    """Everything that can be listed. Raises what loading the plug-ins raises."""
    if not plugins and is_built_in_alone():
        return _stored()
    from stmbench.plugins import load_plugins

    load_plugins(plugins)
    return registered()


def names() -> Names:
    """What model names are made of: as the registries say where they are in use, and as the file says elsewhere."""
    return _stored_names() if is_built_in_alone() else _registered_names()


def detectors() -> Mapping[str, str]:
    """Kinds of detectors, with their titles; apart from other names, as their registry imports torchvision."""
    if is_built_in_alone():
        return _stored().detectors
    from stmbench.architectures.detectors.base import DETECTORS

    return {name: DETECTORS.get(name).title for name in DETECTORS}


def seconds_of(model: str) -> float:
    """About how long an image takes a model on one core. Raises KeyError where that is not written down."""
    return _stored().seconds[model]


def registered() -> Listing:
    """What the registries hold."""
    from stmbench.architectures.base import ARCHITECTURES
    from stmbench.architectures.catalog import ModelName, list_models
    from stmbench.mixers.base import MIXERS

    hosts = [ARCHITECTURES.get(name) for name in ARCHITECTURES]
    known = _registered_names()
    return Listing(
        mixers=[_facts(MIXERS.get(name)) for name in MIXERS],
        architectures=[{"name": host.name, "title": host.title, "citation": host.citation} for host in hosts],
        models={name: ModelName.parse(name).title for name in list_models()},
        detectors=detectors(),
        released={name: list(facts) for name, facts in known.released.items()},
        scales=list(known.scales),
        seconds=json.loads(FILE.read_text(encoding="utf-8")).get("seconds", {}),
    )


def is_built_in_alone() -> bool:
    """Whether the registries hold what comes with stmbench, so that the file says what they would."""
    return not any(name in sys.modules for name in REGISTRIES) and none_installed() and FILE.is_file()


def is_as_shipped() -> bool:
    """Whether no mixer, architecture or model is known but those that come with stmbench."""
    if not none_installed() or not FILE.is_file():
        return False
    return is_built_in_alone() or _registered_names() == _stored_names()


@functools.cache
def none_installed() -> bool:
    """Whether no installed package offers a plug-in."""
    from stmbench.plugins import GROUPS

    return not any(importlib.metadata.entry_points(group=group) for group in GROUPS)


@functools.cache
def _stored() -> Listing:
    return Listing(**json.loads(FILE.read_text(encoding="utf-8")))


@functools.cache
def _stored_names() -> Names:
    known = _stored()
    return Names(
        scales=tuple(known.scales),
        mixers={entry["name"]: entry["title"] for entry in known.mixers},
        families={entry["name"]: entry["family"] for entry in known.mixers},
        architectures={entry["name"]: entry["title"] for entry in known.architectures},
        released={name: Released(*facts) for name, facts in known.released.items()},
    )


def _registered_names() -> Names:
    from stmbench.architectures.base import ARCHITECTURES, NAMED_MODELS
    from stmbench.mixers.base import MIXERS

    return _names_after(MIXERS.changes, ARCHITECTURES.changes, NAMED_MODELS.changes)


@functools.lru_cache(maxsize=1)  # asked for every row of a table
def _names_after(*_changes: int) -> Names:
    from stmbench.architectures.base import ARCHITECTURES, NAMED_MODELS
    from stmbench.mixers.base import MIXERS, SCALES

    mixers = {name: MIXERS.get(name) for name in MIXERS}
    named = {name: NAMED_MODELS.get(name) for name in NAMED_MODELS}
    return Names(
        scales=SCALES,
        mixers={name: entry.title for name, entry in mixers.items()},
        families={name: entry.family for name, entry in mixers.items()},
        architectures={name: ARCHITECTURES.get(name).title for name in ARCHITECTURES},
        released={name: Released(entry.architecture, entry.mixer) for name, entry in named.items()},
    )


def _facts(entry: Any) -> dict[str, Any]:
    from stmbench.mixers.trials import limits

    return {
        "name": entry.name,
        "title": entry.title,
        "abbreviation": entry.abbreviation,
        "family": entry.family,
        "sampling": entry.sampling,
        "weights": entry.weights,
        "alpha": entry.alpha_beta[0],
        "beta": entry.alpha_beta[1],
        "depends_on_n": entry.depends_on_n,
        "channel_multiple": entry.channel_multiple,
        "any_size": entry.any_size,
        "dtypes": list(entry.dtypes),
        "devices": list(entry.devices),
        "nondeterministic_backward": entry.nondeterministic_backward,
        "limits": limits(entry),
        "zero_gradient": [dataclasses.asdict(item) for item in entry.zero_gradient],
        "method": entry.method,
        "citation": entry.citation,
        "options": {key: repr(parameter.default) for key, parameter in entry.options().items()},
        "scales": list(entry.presets),
        "plugin_sha256": entry.plugin_sha256,
    }


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(registered()), indent=1, ensure_ascii=False))
