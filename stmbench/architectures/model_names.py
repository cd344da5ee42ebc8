"""Model names: `<architecture>_<mixer>_<scale>`, a published name (`cotnet50`) or `timm:<name>`.

`<detector>:<name>` is a detector with such a backbone. Any of them may carry options in brackets, those of a detector
and of its backbone together: `maskrcnn:unified_halo_attn_tiny[min_size=640,halo=1]`. `split_options` is the only reader
of the brackets. A timm model that a plug-in registered may be given without `timm:`.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from stmbench.architectures import listing
from stmbench.errors import InputError, UnknownNameError
from stmbench.plugins import timm_models

TIMM = "timm:"
MODULE = "module:"  # given as an object, see `given_models`
_OPTION = re.compile(r"^\s*(\w+)\s*=\s*(.+?)\s*$")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelName:
    """A parsed model name.

    Attributes:
        text: the whole name, as given.
        base: the name without options.
        detector: its kind, None for a classification model.
        architecture: the backbone's; "timm" for a timm model, "module" for a module given as an object.
        mixer: None for both of these.
        scale: None for both of these and for a published name.
        options: of the brackets, converted to numbers, booleans and tuples.
    """

    text: str
    base: str
    architecture: str
    mixer: str | None
    scale: str | None
    options: dict[str, Any]
    detector: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Parse a name.

        Raises:
            UnknownNameError: an unknown detector, architecture, mixer or scale.
            InputError: malformed brackets.
        """
        base, options = split_options(text.strip())
        if (kind := base.partition(":")[0]) != base and kind in listing.detectors():
            inner = cls.parse(text.strip().removeprefix(f"{kind}:"))
            if inner.detector is not None:
                raise InputError("one detector and its backbone", text, "name a classification model after the colon")
            return dataclasses.replace(inner, text=f"{kind}:{inner.text}", base=f"{kind}:{inner.base}", detector=kind)
        for prefix in (TIMM, MODULE):
            if base.startswith(prefix):
                kind = prefix.removesuffix(":")
                return cls(text=text, base=base, architecture=kind, mixer=None, scale=None, options=options)
        known = listing.names()
        if (entry := known.released.get(base)) is not None:
            return cls(
                text=text, base=base, architecture=entry.architecture, mixer=entry.mixer, scale=None, options=options
            )
        if base in timm_models():
            return cls.parse(TIMM + text.strip())  # so that its rows have one name, however it was given
        architecture = next((name for name in known.architectures if base.startswith(f"{name}_")), "")
        mixer, _, scale = base.removeprefix(f"{architecture}_").rpartition("_")
        if not architecture or mixer not in known.mixers or scale not in known.scales:
            raise UnknownNameError(*_closest_problem(base))
        return cls(text=text, base=base, architecture=architecture, mixer=mixer, scale=scale, options=options)

    def with_options(self, **options: Any) -> str:
        """This name with more options, in a canonical order."""
        merged = {**self.options, **options}
        inside = ",".join(f"{key}={_format(value)}" for key, value in sorted(merged.items()))
        return f"{self.base}[{inside}]" if inside else self.base

    @property
    def backbone_base(self) -> str:
        """The backbone's name without options; the name's own for a classification model."""
        return self.base if self.detector is None else self.base.removeprefix(f"{self.detector}:")

    @property
    def backbone(self) -> str:
        """The name of a detector's backbone with the options that are its own; a classification model's own name."""
        if self.detector is None:
            return self.text
        if not self.options:
            return self.backbone_base
        from stmbench.architectures.detectors.base import DETECTORS

        kept = {k: v for k, v in self.options.items() if k not in DETECTORS.get(self.detector).options()}
        return dataclasses.replace(self, base=self.backbone_base, options=kept).with_options()

    @property
    def title(self) -> str:
        """For people: 'Halo Attention · Unified architecture · tiny'. A mixer has one title in all architectures."""
        facts, known = [self.backbone_base.partition(":")[2], self.architecture], listing.names()
        if self.mixer is not None:
            facts = [known.mixers[self.mixer], known.architectures[self.architecture], self.scale or ""]
        facts += [listing.detectors()[self.detector]] if self.detector is not None else []
        return " · ".join(filter(None, facts))


def is_pattern(name: str) -> bool:
    """Whether a model name is a shell pattern: brackets hold options, so `*` and `?` count outside them only."""
    return any(wildcard in name.partition("[")[0] for wildcard in "*?")


def model_names() -> list[str]:
    """Every registered name: by architecture, mixer and scale (smallest first), and then the published names."""
    known = listing.names()
    plain = (f"{a}_{mixer}_{scale}" for a in known.architectures for mixer in known.mixers for scale in known.scales)
    return [*plain, *known.released]


def _closest_problem(base: str) -> tuple[str, str, list[str]]:
    """What is wrong with a name, as precisely as possible: (kind, the wrong part, the known ones)."""
    known = listing.names()
    for architecture in known.architectures:
        if base.startswith(f"{architecture}_"):
            mixer, _, scale = base.removeprefix(f"{architecture}_").rpartition("_")
            if mixer in known.mixers:
                return "scale", scale, list(known.scales)
            if scale in known.scales:
                return "mixer", mixer, list(known.mixers)
    kind, colon, _ = base.partition(":")
    if colon:
        return "detector", kind, list(listing.detectors())
    import timm

    # the name of a timm model probably lacks its prefix
    return "model", base, [*([TIMM + base] if timm.is_model(base) else []), *model_names()]


def split_options(text: str) -> tuple[str, dict[str, Any]]:
    """A model name as (name without brackets, options). The name itself is not checked.

    Raises:
        InputError: malformed brackets.
    """
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
