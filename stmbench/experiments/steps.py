"""A step of an experiment: an analysis of the registry with the options that a file gives it.

analyses:
  - {analysis: erf, num_images: 50, dataset: photos}
  - {analysis: rotation, levels: [0, 15, 30], at_epochs: [10, 20]}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from stmbench.analyses.options import ImageOptions, Options, hints_of
from stmbench.analyses.registry import ANALYSES, AnalysisSpec, specs
from stmbench.errors import ConfigError, UnknownNameError
from stmbench.experiments.yaml_values import SourceValue, convert, made

EPOCHS = "at_epochs"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """Data alone, so it travels to any process.

    Attributes:
        name: in the file.
        analysis: in the registry.
        given: options that the file, or the name in it, sets.
        at_epochs: epochs of training whose weights are analysed, instead of the last one's.
    """

    name: str
    analysis: str
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    at_epochs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        epochs = self.at_epochs
        if len(set(epochs)) != len(epochs) or any(epoch < 1 for epoch in epochs):
            raise ConfigError("epochs from 1, each once", ", ".join(map(str, epochs)), "correct `at_epochs`")

    @property
    def kind(self) -> type[Options]:
        """The dataclass of the options, which knows how the analysis is run."""
        kind = ANALYSES.get(self.analysis).options
        assert kind is not None, self.analysis
        return kind

    def options(self, **defaults: Any) -> Options:
        """The options: the file's, else `defaults`, else those of every experiment, else the analysis's own.

        Raises:
            ConfigError, UnknownNameError: invalid values.
        """
        return self.kind(**{**self.kind.in_experiments, **defaults, **self.given})

    @property
    def dataset(self) -> str | None:
        """The data set that the file names for this step; None: the experiment's."""
        return self.given.get("dataset")

    @property
    def split(self) -> str | None:
        """The split that the file names for this step; None: the experiment's."""
        return self.given.get("split")


def step_names() -> dict[str, tuple[AnalysisSpec, Mapping[str, Any]]]:
    """Name in a file -> the analysis, and the options that the name sets."""
    steps: dict[str, tuple[AnalysisSpec, Mapping[str, Any]]] = {}
    for spec in specs():
        if spec.options is not None:
            steps |= {name: (spec, given) for name, given in spec.step_names.items()}
            steps[spec.name] = spec, {}
    return steps


def read_step(source: SourceValue) -> Step:
    """`erf`, or `{analysis: erf, num_images: 50}`. Raises ConfigError, UnknownNameError with the line."""
    known = step_names()
    if isinstance(source.value, str):
        source = dataclasses.replace(source, value={"analysis": source})
    if not isinstance(source.value, dict) or "analysis" not in source.value:
        raise ConfigError(f"`analysis: NAME` in {source.place}", repr(source.plain), f"name one of {', '.join(known)}")
    name = source.value["analysis"]
    if not isinstance(name.value, str) or name.value not in known:
        raise UnknownNameError(f"analysis in {name.place}", str(name.plain), known)
    spec, fixed = known[name.value]
    assert spec.options is not None
    what, kind, given, epochs = f"the analysis {name.value}", spec.options, dict(fixed), ()
    hints = {field.name: hints_of(kind)[field.name] for field in dataclasses.fields(kind)}
    for written, item in source.value.items():
        if written == "analysis":
            continue
        key = kind.old_keys.get(written, written)
        if written == EPOCHS and issubclass(kind, ImageOptions):
            epochs = convert(item, tuple[int, ...], f"{written} of {what}")
        elif key in fixed or key not in hints:
            choices = [*(name for name in hints if name not in fixed), *([EPOCHS] if kind.needs_images else [])]
            raise UnknownNameError(f"key of {what} in {item.key_place}", written, choices)
        else:
            given[key] = convert(item, hints[key], f"{written} of {what}")
    made(lambda: kind(**{**kind.in_experiments, **given}), source, what)
    return made(lambda: Step(name=name.value, analysis=spec.name, given=given, at_epochs=epochs), source, what)
