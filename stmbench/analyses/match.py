"""`--match macs|params`: give mixers that bring no networks of their own a width that costs what the others cost."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal

from stmbench.analyses.models import meta_model
from stmbench.architectures.catalog import ModelName
from stmbench.errors import InputError, reason_of
from stmbench.measure.counting import count
from stmbench.mixers.base import MIXERS
from stmbench.mixers.trials import channel_multiple, why_not
from stmbench.tables.rows import display

Quantity = Literal["macs", "params"]
QUANTITIES = ("macs", "params")
TOLERANCE = 0.05  # farther from the target than this is not a match
_PATIENCE = 128  # a mixer that refuses so many widths in a row is taken to accept no wider ones


@dataclasses.dataclass(frozen=True, kw_only=True)
class Match:
    """One model that was rescaled: `name` is what to use in place of `model`."""

    model: str
    name: str
    quantity: Quantity
    value: int  # MAC, or parameters
    target: float  # median of the others at the same scale
    references: int  # how many others

    @property
    def deviation(self) -> float:
        """(value - target) / target."""
        return self.value / self.target - 1

    def __str__(self) -> str:
        return (
            f"{self.name}: {_readable(self.value, self.quantity)}, {self.deviation:+.1%} from the median of "
            f"{self.references} other{'s' if self.references > 1 else ''}, {_readable(self.target, self.quantity)}"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Matching:
    """The model names to use, in the order given; the matches among them; remarks for the user."""

    names: tuple[str, ...]
    matches: tuple[Match, ...]
    notes: tuple[str, ...]


def match(names: Sequence[str], quantity: str) -> Matching:
    """Rescale the models whose mixer has no preset at its scale, and only those.

    Their width (`dims`, in the ratios of their preset, multiples of what the mixer accepts) becomes the one whose
    multiply-adds or parameters, at the design size, come closest to the median of the models at that scale that do have
    presets. A model whose name gives `dims` is left alone.

    Raises:
        InputError: another quantity than `QUANTITIES`; no model of that scale to match; nothing within 5 %.
    """
    if quantity not in QUANTITIES:
        raise InputError(f"a quantity to match ({' or '.join(QUANTITIES)})", repr(quantity), "correct --match")
    wanted: Quantity = "macs" if quantity == "macs" else "params"
    models = [ModelName.parse(name) for name in names]
    found: list[str] = []
    matches: list[Match] = []
    notes: list[str] = []
    for model in models:
        if not _is_free(model):
            found.append(model.text)
        elif "dims" in model.options:
            found.append(model.text)
            notes.append(f"{model.text} keeps the dims it was given")
        else:
            references = [m.text for m in models if m.scale == model.scale and not _is_free(m)]
            matched, refused = _rescaled(model, references, wanted)
            found.append(matched.name)
            matches.append(matched)
            notes += refused
    if not matches and not notes:
        notes.append("every model has a network of its own: nothing to match")
    return Matching(names=tuple(found), matches=tuple(matches), notes=tuple(notes))


def _is_free(model: ModelName) -> bool:
    """Whether the mixer brings no network at this scale, so that its width is ours to choose."""
    return model.mixer is not None and model.scale not in MIXERS.get(model.mixer).presets


def _rescaled(model: ModelName, references: Sequence[str], quantity: Quantity) -> tuple[Match, list[str]]:
    """The match, and a note on the widths that were passed over on the way."""
    if not references:
        raise InputError(
            f"a {model.scale} model with a network of its own to match {model.text} to",
            "none",
            "name one, or drop --match",
        )
    target = statistics.median(_cost(name, quantity) for name in references)
    # counted in steps of the first stage the ratios of the stages are exact; in steps of the last, finer, nearly so
    closest: Match | None = None
    refused: dict[tuple[int, ...], str] = {}
    for anchor in (0, -1):
        if closest is None or abs(closest.deviation) > TOLERANCE:
            widths = _Widths(model, quantity, anchor=anchor)
            closest = _closest(widths, target, len(references)) or closest
            refused |= widths.refused
    if closest is None:
        remedy = f"check the mixer: {next(iter(refused.values()), 'no width is wide enough')}"
        raise InputError(f"a width that {model.mixer} accepts", f"none of the first {_PATIENCE}", remedy)
    if abs(closest.deviation) > TOLERANCE:
        raise InputError(
            f"a width of {model.text} within {TOLERANCE:.0%} of {_readable(target, quantity)}",
            f"{_readable(closest.value, quantity)} at the nearest one ({closest.name})",
            "choose another scale, give dims yourself, or let the mixer accept more widths (channel_multiple)",
        )
    return closest, _note(model, refused)


def _note(model: ModelName, refused: Mapping[tuple[int, ...], str]) -> list[str]:
    """One line on the widths that a model cannot have, if any."""
    if not refused:
        return []
    dims, reason = next(iter(refused.items()))
    others = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
    return [f"{model.text}: passed over the widths {'-'.join(map(str, dims))}{others}, which it cannot take: {reason}"]


def _closest(widths: _Widths, target: float, references: int) -> Match | None:
    candidates = widths.around(target)
    if not candidates:
        return None
    value, dims = min(((cost, widths.dims(k)) for k, cost in candidates), key=lambda c: abs(c[0] - target))
    return Match(
        model=widths.model.text,
        name=widths.model.text if dims == widths.base else widths.model.with_options(dims=dims),
        quantity=widths.quantity,
        value=value,
        target=target,
        references=references,
    )


class _Widths:
    """The widths that a model could have, numbered from 1: multiples of what its mixer and the stem accept."""

    def __init__(self, model: ModelName, quantity: Quantity, *, anchor: int) -> None:
        assert model.mixer is not None
        assert model.scale is not None
        entry = MIXERS.get(model.mixer)
        self.model, self.quantity = model, quantity
        self.base = entry.preset(model.scale).dims
        own = {key: value for key, value in model.options.items() if key in entry.options()}
        self._entry, self._options = entry, {**entry.preset(model.scale).options, **own}
        self._step = math.lcm(2, channel_multiple(entry, **self._options))  # the stem halves the first width
        self._unit = self.base[anchor]
        self._costs: dict[int, int | None] = {}
        self.refused: dict[tuple[int, ...], str] = {}  # width -> why

    def dims(self, k: int) -> tuple[int, ...]:
        """The k-th width: k steps in the stage of the anchor, the others in the preset's ratios to it, rounded."""
        return tuple(self._step * max(1, round(Fraction(k * width, self._unit))) for width in self.base)

    def around(self, target: float) -> list[tuple[int, int]]:
        """The last accepted width that costs less than `target` and the first that does not, each with its cost."""
        low, high = 0, max(1, self._unit // self._step)
        while self._from(high)[1] < target:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._from(middle)[1] < target else (low, middle)
        first, cost = self._from(high)
        below = next(((k, c) for k in range(low, 0, -1) if (c := self._cost(k)) is not None), None)
        accepted = [(first, int(cost))] if cost < math.inf else []
        return accepted + ([below] if below else [])

    def _from(self, k: int) -> tuple[int, float]:
        """The first accepted width from k on, and its cost; infinite where there is none for a long way."""
        for candidate in range(k, k + _PATIENCE):
            cost = self._cost(candidate)
            if cost is not None:
                return candidate, cost
        return k, math.inf

    def _cost(self, k: int) -> int | None:
        """None where the mixer refuses the width: of a stage on a small map, or when the model is built and counted."""
        if k not in self._costs:
            dims, cost = self.dims(k), None
            reasons = (why_not(self._entry, dim, **self._options) for dim in dict.fromkeys(dims))
            reason = next(filter(None, reasons), None)
            if reason is None:
                try:
                    cost = _cost(self.model.with_options(dims=dims), self.quantity)
                except Exception as error:  # a mixer that cannot take a width may raise anything
                    reason = reason_of(error)
            self._costs[k] = cost
            self.refused |= {} if reason is None else {dims: reason}
        return self._costs[k]


def _cost(name: str, quantity: Quantity) -> int:
    """Of the model, or of a detector's backbone."""
    model = meta_model(ModelName.parse(name).backbone)
    if quantity == "params":
        return sum(parameter.numel() for parameter in model.parameters())
    default_cfg: Any = model.default_cfg
    return count(model, default_cfg["input_size"]).macs


def _readable(amount: float, quantity: Quantity) -> str:
    shown = display(quantity, values=[amount])
    unit = shown.unit.removesuffix("s") if quantity == "macs" else f"{shown.unit} parameters"
    return f"{amount / shown.factor:.4g} {unit}"
