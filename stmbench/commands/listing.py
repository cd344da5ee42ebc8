"""What `stmbench list` prints: from the registries, or from a file of the same facts, which needs no model code.

The file is read in a fresh process where nothing but stmbench can have registered anything: importing torch for a list
would take seconds. `python -m stmbench.commands.listing > stmbench/commands/listing.json` writes it, and a test
compares it with the registries.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).with_name("listing.json")
REGISTRIES: Final = ("stmbench.mixers.base", "stmbench.architectures.base")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """Facts of mixers and architectures, each in the registry's order, and titles of models by name."""

    mixers: Sequence[Mapping[str, Any]]
    architectures: Sequence[Mapping[str, Any]]
    models: Mapping[str, str]


def listing(plugins: Sequence[Path] | None = None) -> Listing:
    """Everything that can be listed. Raises what loading the plug-ins raises."""
    if not plugins and _is_built_in_alone():
        return Listing(**json.loads(FILE.read_text(encoding="utf-8")))
    from stmbench.plugins import load_plugins

    load_plugins(plugins)
    return registered()


def registered() -> Listing:
    """What the registries hold."""
    from stmbench.architectures.base import ARCHITECTURES
    from stmbench.architectures.catalog import ModelName, list_models
    from stmbench.mixers.base import MIXERS

    hosts = [ARCHITECTURES.get(name) for name in ARCHITECTURES]
    return Listing(
        mixers=[_facts(MIXERS.get(name)) for name in MIXERS],
        architectures=[{"name": host.name, "title": host.title, "citation": host.citation} for host in hosts],
        models={name: ModelName.parse(name).title for name in list_models()},
    )


def _is_built_in_alone() -> bool:
    from stmbench.plugins import GROUPS

    installed = any(importlib.metadata.entry_points(group=group) for group in GROUPS)
    return not installed and not any(name in sys.modules for name in REGISTRIES) and FILE.is_file()


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
