"""What this machine and its user have: places of data sets, weights, a device; and the words for what is missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from stmbench.architectures.catalog import ModelName
from stmbench.checkpoints.families import published_file_stems
from stmbench.data.sets import EMBEDDED
from stmbench.errors import InputError

SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resources:
    """`data`: set -> place; `weights`: a folder of checkpoints named after models, or as their authors named them."""

    data: Mapping[str, str] = dataclasses.field(default_factory=dict)
    weights: Path | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, place in self.data.items():
            if not Path(place).expanduser().exists():
                raise InputError(f"the data set {name}", f"nothing at {place}", "correct --data")
        if self.weights is not None and not self.weights.is_dir():
            raise InputError("a folder of weights", f"no folder at {self.weights}", "correct --weights")

    def place(self, dataset: str) -> tuple[str, str | None]:
        """The set as `open_set` takes it, and what is missing for it."""
        if dataset.partition("[")[0] in EMBEDDED:
            return dataset, None
        found = self.data.get(dataset, dataset)
        if Path(found).expanduser().exists():
            return found, None
        return dataset, f"the data set {dataset} (--data {dataset}=PATH)"

    def checkpoint(self, model: str) -> tuple[str | None, str | None]:
        """The file with a model's weights, and what is missing where there is none."""
        missing = f"weights of {model} (--weights FOLDER)"
        if self.weights is None:
            return None, missing
        name = ModelName.parse(model)
        for stem in (model, name.base, *published_file_stems(name)):
            for suffix in SUFFIXES:
                path = self.weights / f"{stem}{suffix}"
                if path.is_file():
                    return str(path), None
        return None, missing

    def lacks(self, device: str) -> str | None:
        """What is missing for an experiment that wants this device."""
        if device == "cuda" and not self.device.startswith("cuda"):
            return "a GPU (--anyway runs it on the CPU)"
        return None
