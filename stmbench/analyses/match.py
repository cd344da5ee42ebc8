"""`--match macs|params`: give mixers that bring no networks of their own a width that costs what the others cost."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from stmbench.analyses.match_widths import PATIENCE, Widths
from stmbench.analyses.models import meta_model
from stmbench.architectures.catalog import ModelName
from stmbench.errors import InputError
from stmbench.measure.counting import count
from stmbench.mixers.base import MIXERS
from stmbench.tables.labels import listed
from stmbench.tables.rows import display

Quantity = Literal["macs", "params"]
QUANTITIES = ("macs", "params")
TOLERANCE = 0.05  # farther from the target than this is not a match


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
    """The model names to use, in the order given; the matches among them; models that no width matches, with the
    reason; remarks for the user."""

    names: tuple[str, ...]
    matches: tuple[Match, ...]
    left_out: Mapping[str, InputError]
    notes: tuple[str, ...]


def match(names: Sequence[str], quantity: str) -> Matching:
    """Rescale the models whose mixer has no preset at its scale, and only those.

    Their width (`dims`, in the ratios of their preset or near them, multiples of what the mixer accepts) becomes the
    one whose multiply-adds or parameters, at the design size, come closest to the median of the models at that scale
    that do have presets. A model that no such width brings within 5 % is left out. A model whose name gives `dims` is
    left alone.

    Raises:
        InputError: another quantity than `QUANTITIES`; no model of that scale to match.
    """
    if quantity not in QUANTITIES:
        raise InputError(f"a quantity to match ({' or '.join(QUANTITIES)})", repr(quantity), "correct --match")
    wanted: Quantity = "macs" if quantity == "macs" else "params"
    models = [ModelName.parse(name) for name in names]
    found: list[str] = []
    matches: list[Match] = []
    left_out: dict[str, InputError] = {}
    notes: list[str] = []
    for model in models:
        if not _is_free(model):
            found.append(model.text)
        elif "dims" in model.options:
            found.append(model.text)
            notes.append(f"{model.text} keeps the dims it was given")
        else:
            references = [m.text for m in models if m.scale == model.scale and not _is_free(m)]
            result, refused = _rescaled(model, references, wanted)
            notes += refused
            if isinstance(result, InputError):
                left_out[model.text] = result
            else:
                found.append(result.name)
                matches.append(result)
    notes += _left_alone(models)
    return Matching(names=tuple(found), matches=tuple(matches), left_out=left_out, notes=tuple(notes))


def _is_free(model: ModelName) -> bool:
    """Whether the mixer brings no network at this scale, so that its width is ours to choose."""
    return model.mixer is not None and model.scale not in MIXERS.get(model.mixer).presets


def _left_alone(models: Sequence[ModelName]) -> list[str]:
    """One line on the models that are not for us to rescale, whatever they cost."""
    own = [model.text for model in models if not _is_free(model)]
    if len(own) == len(models):
        return ["every model has a network of its own: nothing to match"]
    if not own:
        return []
    several = len(own) > 1
    have, are = ("have networks of their own", "they are") if several else ("has a network of its own", "it is")
    return [f"{listed(own)} {have}: left as {are}"]


def _rescaled(model: ModelName, references: Sequence[str], quantity: Quantity) -> tuple[Match | InputError, list[str]]:
    """The match, or why there is none; and a note on the widths that were passed over on the way."""
    if not references:
        raise InputError(
            f"a {model.scale} model with a network of its own to match {model.text} to",
            "none",
            "name one, or drop --match",
        )
    target = statistics.median(_cost(name, quantity) for name in references)
    widths = Widths(model, lambda name: _cost(name, quantity))
    dims = _closest(widths, target)
    if dims is None:
        remedy = f"check the mixer: {next(iter(widths.refused.values()), 'no width is wide enough')}"
        return InputError(f"a width that {model.mixer} accepts", f"none of the first {PATIENCE}", remedy), []
    found = Match(
        model=model.text,
        name=model.text if dims == widths.base else model.with_options(dims=dims),
        quantity=quantity,
        value=widths.cost(dims) or 0,
        target=target,
        references=len(references),
    )
    if abs(found.deviation) <= TOLERANCE:
        return found, _note(model, widths.refused)
    error = InputError(
        f"a width of {model.text} within {TOLERANCE:.0%} of {_readable(target, quantity)}",
        f"{_readable(found.value, quantity)} at the nearest one ({found.name})",
        "choose another scale, give dims yourself, or let the mixer accept more widths (channel_multiple)",
    )
    return error, []


def _note(model: ModelName, refused: Mapping[tuple[int, ...], str]) -> list[str]:
    """One line on the widths that a model cannot have, if any."""
    if not refused:
        return []
    dims, reason = next(iter(refused.items()))
    others = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
    return [f"{model.text}: passed over the widths {'-'.join(map(str, dims))}{others}, which it cannot take: {reason}"]


def _closest(widths: Widths, target: float) -> tuple[int, ...] | None:
    """The width that costs what comes closest to `target`; None where the mixer accepts none.

    In steps of the first stage the ratios of the stages are exact; in steps of the last, finer, nearly so; with each
    stage rounded up or down on its own there are the most widths. What is farther from the ratios is tried only where
    the rest is not close enough.
    """

    def distance(dims: tuple[int, ...]) -> float:
        return abs((widths.cost(dims) or 0) - target)

    found = widths.in_proportion(target, anchor=0)
    if not found or min(map(distance, found)) > TOLERANCE * target:
        finer = widths.in_proportion(target, anchor=-1)
        found += finer
        if finer and min(map(distance, found)) > TOLERANCE * target:
            found += widths.nearby(finer, target)
    return min(found, key=distance, default=None)


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
