"""What every training of a store was configured with: kept as text, grouped, and compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pandas as pd
import pyarrow as pa

ATTRIBUTE: Final = "trainings"  # of a store's frame: (model, weights) -> configuration as JSON


def trainings_of(table: pa.Table, metadata: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """(model, weights) -> configuration, of the trainings of a part."""
    settings = metadata.get("settings")
    if metadata.get("analysis") != "train" or not isinstance(settings, dict):
        return {}
    # one text, as pandas copies attrs with every selection of rows
    text = json.dumps(_flat(settings), sort_keys=True, ensure_ascii=False)
    pairs = zip(table["model"].to_pylist(), table["weights"].to_pylist(), strict=True)
    return {(str(model), str(weights)): text for model, weights in pairs if model is not None and weights is not None}


def configurations(frame: pd.DataFrame) -> list[tuple[dict[str, str], list[tuple[str, str]]]]:
    """(field -> value in words, [(model, weights)]) of each configuration that runs of the frame's store have."""
    grouped: dict[str, list[tuple[str, str]]] = {}
    for run, text in frame.attrs.get(ATTRIBUTE, {}).items():
        grouped.setdefault(text, []).append(run)
    return [(_words(text), runs) for text, runs in grouped.items()]


def configuration_changes(base: pd.DataFrame, head: pd.DataFrame) -> dict[str, list[str]]:
    """'epochs 2 to 12; lr 0.001 to 0.003' -> the models whose trainings differ so between two stores.

    A model that was trained in several ways in one of them is compared in every way that the two do not share.
    """
    found: dict[str, list[str]] = {}
    sides = [_by_model(frame) for frame in (base, head)]
    for model in dict.fromkeys([*sides[0], *sides[1]]):
        before, after = (side.get(model, ()) for side in sides)
        for old in (text for text in before if text not in after):
            for new in (text for text in after if text not in before):
                found.setdefault(difference(_words(old), _words(new)), []).append(model)
    return found


def difference(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """The fields that differ, from the old value to the new one."""
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    return "; ".join(f"{name} {old.get(name, 'unknown')} to {new.get(name, 'unknown')}" for name in names)


def _by_model(frame: pd.DataFrame) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for (model, _), text in frame.attrs.get(ATTRIBUTE, {}).items():
        texts = found.setdefault(model, [])
        if text not in texts:
            texts.append(text)
    return found


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's fields beside the others."""
    recipe = settings.get("recipe")
    others = {name: value for name, value in settings.items() if name != "recipe"}
    return {**(recipe if isinstance(recipe, dict) else {"recipe": recipe}), **others}


def _words(text: str) -> dict[str, str]:
    return {name: _value(value) for name, value in json.loads(text).items()}


def _value(value: Any) -> str:
    """A value for people: none, yes, 0.003, 0.9 and 0.999."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(item)}" for name, item in value.items()) or "none"
    return str(value)
