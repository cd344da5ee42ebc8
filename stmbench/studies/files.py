"""A study as files: the plan that a second call resumes, and the experiment that would repeat it on ImageNet."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from stmbench.studies.budget import Plan
from stmbench.studies.design import Effort, design, steps_for
from stmbench.studies.options import StudyOptions
from stmbench.tables.files import write_file

PLAN: Final = "study.json"
IMAGENET: Final = "imagenet.yaml"
IMAGENET_SCALE: Final = {"nano": "micro"}  # nano networks are for images of 32 pixels
OF_SMALL_IMAGES: Final = ("kind", "layers", "levels", "pad")  # options of steps that the ImageNet experiment leaves out


def keep_plan(folder: Path, options: StudyOptions, plan: Plan) -> None:
    """Write what was asked for and what was planned, at once."""
    content = {"options": dataclasses.asdict(options), "plan": dataclasses.asdict(plan)}
    write_file(folder / PLAN, json.dumps(content, indent=2) + "\n")


def kept_plan(folder: Path, options: StudyOptions) -> Plan | None:
    """The plan of an earlier call with the same options; None where there is none, or it cannot be read."""
    try:
        content = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        if content["options"] != json.loads(json.dumps(dataclasses.asdict(options))):
            return None
        plan: dict[str, Any] = content["plan"]
        effort: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in plan["effort"].items()
        }
        return Plan(
            effort=Effort(**effort), left_out=tuple(plan["left_out"]), seconds=plan["seconds"], fits=plan["fits"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def imagenet_experiment(options: StudyOptions, plugins: Sequence[Path], folder: Path) -> str:
    """The YAML of the same comparison on ImageNet: `stmbench run imagenet.yaml --data imagenet=PATH`.

    The papers' recipe with its own layer scale, and networks for images of 224 pixels,
    matched in MACs like the study's.

    Raises:
        InputError: no width at that scale that costs what the baselines cost.
    """
    scale = IMAGENET_SCALE.get(options.scale, options.scale)
    large = design(dataclasses.replace(options, scale=scale, layer_scale=None))
    steps: list[Any] = []
    for name, step in steps_for("imagenet", of_plugins=options.analyses).items():
        given = {key: _plain(value) for key, value in step.given.items() if key not in OF_SMALL_IMAGES}
        steps.append({"analysis": name, **given} if given else name)
    content: dict[str, Any] = {
        "title": f"{large.title}, on ImageNet",
        "note": " ".join(["Written by stmbench study.", *large.notes]),
        "models": list(large.models.values()),
        "control": large.models[options.control],
        "weights": "trained",
        "seeds": list(range(options.seeds)),
        "data": {"set": "imagenet", "test": "val"},
        "training": {"recipe": "stm"},
        "device": "cuda",
        "analyses": steps,
    }
    if plugins:
        content["plugins"] = [os.path.relpath(path.resolve(), folder.resolve()) for path in plugins]
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120))


def _plain(value: Any) -> Any:
    """Lists in place of tuples, which YAML has no word for."""
    return list(value) if isinstance(value, tuple) else value
