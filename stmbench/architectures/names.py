"""Model names: `<architecture>_<mixer>_<scale>`, a name of its own, options in brackets, or `timm:<name>`."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from stmbench.architectures.base import ARCHITECTURES, NAMED
from stmbench.errors import InputError, UnknownNameError
from stmbench.mixers.base import MIXERS, SCALES

TIMM = "timm:"
MODULE = "module:"  # given as an object, see `given_models`
_OPTION = re.compile(r"^\s*(\w+)\s*=\s*(.+?)\s*$")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelName:
    """A model name taken apart: `unified_halo_attn_tiny[design=C,halo=1]`.

    `base` is the registered name without options. A timm model has the architecture "timm" and a module given as an
    object "module", no mixer and no scale; a model with a name of its own has no scale.
    """

    text: str
    base: str
    architecture: str
    mixer: str | None
    scale: str | None
    options: dict[str, Any]

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Take a name apart.

        Raises:
            UnknownNameError: an unknown architecture, mixer or scale.
            InputError: brackets that cannot be read.
        """
        base, options = _split_options(text.strip())
        for prefix in (TIMM, MODULE):
            if base.startswith(prefix):
                kind = prefix.removesuffix(":")
                return cls(text=text, base=base, architecture=kind, mixer=None, scale=None, options=options)
        if base in NAMED:
            entry = NAMED.get(base)
            return cls(
                text=text, base=base, architecture=entry.architecture, mixer=entry.mixer, scale=None, options=options
            )
        if base not in model_names():
            raise UnknownNameError(*_closest_problem(base))
        architecture = next(a for a in ARCHITECTURES if base.startswith(f"{a}_"))
        mixer, _, scale = base.removeprefix(f"{architecture}_").rpartition("_")
        return cls(text=text, base=base, architecture=architecture, mixer=mixer, scale=scale, options=options)

    def with_options(self, **options: Any) -> str:
        """This name with more options, in a canonical order."""
        merged = {**self.options, **options}
        inside = ",".join(f"{key}={_format(value)}" for key, value in sorted(merged.items()))
        return f"{self.base}[{inside}]" if inside else self.base


def model_names() -> list[str]:
    """Every registered name: architecture by architecture, mixer by mixer, from the smallest scale to the largest, and
    then those of their own."""
    return [f"{a}_{mixer}_{scale}" for a in ARCHITECTURES for mixer in MIXERS for scale in SCALES] + NAMED.names()


def _closest_problem(base: str) -> tuple[str, str, list[str]]:
    """What is wrong with a name, as narrowly as can be said: (kind, the wrong part, what is known)."""
    for architecture in ARCHITECTURES:
        if base.startswith(f"{architecture}_"):
            mixer, _, scale = base.removeprefix(f"{architecture}_").rpartition("_")
            if mixer in MIXERS:
                return "scale", scale, list(SCALES)
            if scale in SCALES:
                return "mixer", mixer, list(MIXERS)
    import timm

    # a name of timm's is most likely meant as one
    return "model", base, [*([TIMM + base] if timm.is_model(base) else []), *model_names()]


def _split_options(text: str) -> tuple[str, dict[str, Any]]:
    base, bracket, inside = text.partition("[")
    if not bracket:
        return text, {}
    options: dict[str, Any] = {}
    for part in inside.removesuffix("]").split(","):
        match = _OPTION.match(part)
        if match is None or not text.endswith("]"):
            raise InputError("a model name like name[key=value,key=value]", repr(text), "correct the brackets")
        options[match[1]] = _value(match[2])
    return base, options


def _value(text: str) -> Any:
    """int, float, True, False, a list of numbers joined by '-', or the text itself."""
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"[\d.]+(-[\d.]+)+", text):
        return tuple(_value(part) for part in text.split("-"))
    return text


def _format(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "-".join(_format(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
