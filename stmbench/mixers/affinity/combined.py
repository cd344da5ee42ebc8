"""Affinities made of others: a multiple, heads that several channels share, and CONTAINER's mixture of two parts."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from stmbench.mixers.affinity.base import Affinity, Kind
from stmbench.mixers.affinity.dense import FullAffinity


class ScaledAffinity(Affinity):
    """`factor` times an affinity; the factor is () or one number for each head."""

    def __init__(self, affinity: Affinity, factor: Tensor) -> None:
        super().__init__(affinity.shape, affinity.columns, kind_of(affinity))
        self.affinity = affinity
        self.factor = factor.view(-1, 1, 1)  # heads or 1, 1, 1

    def entries(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """The affinity's columns, its weights times the factor."""
        columns, weights = self.affinity.entries(queries)
        return columns, weights * self.factor

    def rows(self, queries: Tensor) -> Tensor:
        """(Q,) long -> (B, heads, Q, N_in)."""
        return self.affinity.rows(queries) * self.factor

    def apply(self, values: Tensor) -> Tensor:
        """(B, heads, N_in, d) -> (B, heads, N_out, d)."""
        return self.affinity.apply(values) * self.factor


class RepeatedHeads(Affinity):
    """Each head of an affinity `times` times: heads a, b become a, a, b, b (attention seen channel by channel)."""

    def __init__(self, affinity: Affinity, times: int) -> None:
        batch, heads, outputs, inputs = affinity.shape
        super().__init__((batch, heads * times, outputs, inputs), affinity.columns, kind_of(affinity))
        self.affinity, self.times = affinity, times

    def entries(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """The affinity's columns, its weights head by head repeated."""
        columns, weights = self.affinity.entries(queries)
        return columns, weights.repeat_interleave(self.times, dim=1)

    def rows(self, queries: Tensor) -> Tensor:
        """(Q,) long -> (B, heads, Q, N_in)."""
        return self.affinity.rows(queries).repeat_interleave(self.times, dim=1)

    def apply(self, values: Tensor) -> Tensor:
        """(B, heads, N_in, d) -> (B, heads, N_out, d): the copies of a head are applied together."""
        batch, heads, inputs, depth = values.shape
        values = values.reshape(batch, heads // self.times, self.times, inputs, depth).transpose(2, 3).flatten(3)
        mixed = self.affinity.apply(values)  # B, heads / times, N_out, times * d
        return mixed.reshape(*mixed.shape[:3], self.times, depth).transpose(2, 3).flatten(1, 2)


class MixtureAffinity(FullAffinity):
    """alpha A_dynamic + beta A_static (Gao et al. 2021, eq. 5), two affinities of one shape and the same columns.

    Args:
        dynamic: depends on the input throughout; static: on nothing.
        alpha, beta: () or (heads,); None, both, for a plain sum.
    """

    def __init__(
        self, dynamic: Affinity, static: Affinity, *, alpha: Tensor | None = None, beta: Tensor | None = None
    ) -> None:
        assert dynamic.shape == static.shape, f"parts of one shape, not {dynamic.shape} and {static.shape}"
        super().__init__(dynamic.shape, dynamic.columns, "dynamic")
        self._dynamic, self._static, self._coefficients = dynamic, static, {}
        if alpha is not None and beta is not None:
            self._dynamic, self._static = ScaledAffinity(dynamic, alpha), ScaledAffinity(static, beta)
            scalars = {"alpha": alpha, "beta": beta}
            self._coefficients = {name: value.detach().expand(self.shape[1]) for name, value in scalars.items()}

    @property
    def static(self) -> Affinity:
        """beta A_static."""
        return self._static

    @property
    def dynamic(self) -> Affinity:
        """alpha A_dynamic."""
        return self._dynamic

    @property
    def coefficients(self) -> Mapping[str, Tensor]:
        """alpha and beta, (heads,) each."""
        return self._coefficients

    def rows(self, queries: Tensor) -> Tensor:
        """(Q,) long -> (B, heads, Q, N_in)."""
        return self._dynamic.rows(queries) + self._static.rows(queries)

    def apply(self, values: Tensor) -> Tensor:
        """(B, heads, N_in, d) -> (B, heads, N_out, d)."""
        return self._dynamic.apply(values) + self._static.apply(values)


def kind_of(affinity: Affinity) -> Kind:
    """Whether an affinity of one kind throughout is static or dynamic."""
    assert affinity.static is None or affinity.dynamic is None, "an affinity of two parts: combine the parts"
    return "dynamic" if affinity.static is None else "static"
