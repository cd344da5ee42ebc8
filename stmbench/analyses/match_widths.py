"""The widths that `--match` may give a model: in its preset's proportions, and near them where those are too coarse."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Final

from stmbench.architectures.catalog import ModelName
from stmbench.errors import reason_of
from stmbench.mixers.base import MIXERS
from stmbench.mixers.trials import channel_multiple, why_not

Dims = tuple[int, ...]
PATIENCE: Final = 128  # a mixer that refuses so many widths in a row is taken to accept no wider ones
_COUNTED: Final = 6  # widths near the proportions that are counted, of those that are estimated to come closest


class Widths:
    """Multiples of what a model's mixer and the stem accept, with what the model costs at each.

    Args:
        cost: of a model by name; may raise anything where there is no such model.

    Attributes:
        base: the preset's widths.
        refused: width -> why.
    """

    def __init__(self, model: ModelName, cost: Callable[[str], int]) -> None:
        assert model.mixer is not None
        assert model.scale is not None
        entry = MIXERS.get(model.mixer)
        self.model, self.base = model, entry.preset(model.scale).dims
        own = {key: value for key, value in model.options.items() if key in entry.options()}
        self._entry, self._options = entry, {**entry.preset(model.scale).options, **own}
        self._step = math.lcm(2, channel_multiple(entry, **self._options))  # the stem halves the first width
        self._cost_of = cost
        self._costs: dict[Dims, int | None] = {}
        self.refused: dict[Dims, str] = {}

    def cost(self, dims: Dims) -> int | None:
        """None where the mixer refuses the width: of a stage on a small map, or when the model is built and counted."""
        if dims not in self._costs:
            cost, reason = None, next(filter(None, map(self._why_not, dict.fromkeys(dims))), None)
            if reason is None:
                try:
                    cost = self._cost_of(self.model.with_options(dims=dims))
                except Exception as error:  # a mixer that cannot take a width may raise anything
                    reason = reason_of(error)
            self._costs[dims] = cost
            self.refused |= {} if reason is None else {dims: reason}
        return self._costs[dims]

    def in_proportion(self, target: float, *, anchor: int) -> list[Dims]:
        """The last accepted width that costs less than `target` and the first that does not.

        Args:
            anchor: the stage that widens step by step; the others follow in the preset's ratios to it, rounded.
        """
        low, high = 0, max(1, self.base[anchor] // self._step)
        while self._from(high, anchor)[1] < target:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._from(middle, anchor)[1] < target else (low, middle)
        first, cost = self._from(high, anchor)
        numbers = [] if cost == math.inf else [first]
        numbers += next(([k] for k in range(low, 0, -1) if self.cost(self._dims(k, anchor)) is not None), [])
        return [self._dims(k, anchor) for k in numbers]

    def nearby(self, widths: Sequence[Dims], target: float) -> list[Dims]:
        """Of the widths with each stage within a step of the preset's proportions, in the range that `widths` (in
        proportion to the last stage) span, those whose costs are estimated to come closest to `target`."""
        centre = min(widths, key=lambda dims: abs((self.cost(dims) or 0) - target))
        estimate = _Estimate(self.cost, centre)
        rising = [a <= b for a, b in itertools.pairwise(self.base)]
        found: list[tuple[float, Dims]] = []
        for dims in itertools.product(*self._choices(widths)):
            in_order = all(a <= b for (a, b), rises in zip(itertools.pairwise(dims), rising, strict=True) if rises)
            if in_order and (cost := estimate(dims)) is not None:
                found.append((abs(cost - target), dims))
        return [dims for _, dims in sorted(found)[:_COUNTED] if self.cost(dims) is not None]

    def _choices(self, widths: Sequence[Dims]) -> Iterator[list[int]]:
        """The widths of each stage that are within a step of its share, and that the mixer accepts."""
        scales = [Fraction(dims[-1], self.base[-1]) for dims in widths]
        for width in self.base:
            fewest, most = min(scales) * width / self._step - 1, max(scales) * width / self._step + 1
            steps = range(max(1, math.ceil(fewest)), math.floor(most) + 1)
            yield [k * self._step for k in steps if self._why_not(k * self._step) is None]

    def _dims(self, k: int, anchor: int) -> Dims:
        """k steps in the stage of the anchor, the others in the preset's ratios to it, rounded."""
        unit = self.base[anchor]
        return tuple(self._step * max(1, round(Fraction(k * width, unit))) for width in self.base)

    def _from(self, k: int, anchor: int) -> tuple[int, float]:
        """The first accepted width from k on, and its cost; infinite where there is none for a long way."""
        for candidate in range(k, k + PATIENCE):
            cost = self.cost(self._dims(candidate, anchor))
            if cost is not None:
                return candidate, cost
        return k, math.inf

    def _why_not(self, dim: int) -> str | None:
        return why_not(self._entry, dim, **self._options)


class _Estimate:
    """What a model costs at a width, from widths that differ from `centre` in one stage, or in two that follow.

    A stage's cost depends on its own width, a transition's on the product of two: where that is all, it is exact.
    """

    def __init__(self, cost: Callable[[Dims], int | None], centre: Dims) -> None:
        self._cost, self._centre, self._whole = cost, centre, cost(centre) or 0
        self._products: dict[int, float] = {}  # stage -> what the product of its change and the next one's costs

    def __call__(self, dims: Dims) -> float | None:
        """None where the model cannot have the width of a stage."""
        total = float(self._whole)
        for stage in range(len(dims)):
            alone = self._cost(self._with(dims, stage))
            if alone is None:
                return None
            total += alone - self._whole
        for stage in range(len(dims) - 1):
            if change := self._change(dims, stage):
                total += self._product(dims, stage) * change
        return total

    def _with(self, dims: Dims, *stages: int) -> Dims:
        return tuple(new if i in stages else old for i, (new, old) in enumerate(zip(dims, self._centre, strict=True)))

    def _change(self, dims: Dims, stage: int) -> int:
        return math.prod(dims[i] - self._centre[i] for i in (stage, stage + 1))

    def _product(self, dims: Dims, stage: int) -> float:
        if stage not in self._products:
            both, *alone = (self._cost(self._with(dims, *at)) for at in ((stage, stage + 1), (stage,), (stage + 1,)))
            known = both is not None and None not in alone
            beyond = both - sum(cost or 0 for cost in alone) + self._whole if known and both is not None else 0
            self._products[stage] = beyond / self._change(dims, stage)
        return self._products[stage]
