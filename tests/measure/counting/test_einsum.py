"""Einstein sums: pairwise contractions in the order in which they are carried out."""

from __future__ import annotations

import pytest

from stmbench.measure.counting.products import contraction_macs

# equation, shapes, path, multiply-adds
CASES = [
    ("ij,jk->ik", [(2, 3), (3, 5)], None, 2 * 3 * 5),
    ("ij,jk", [(2, 3), (3, 5)], None, 2 * 3 * 5),
    ("bhnd,bhmd->bhnm", [(2, 3, 4, 8), (2, 3, 5, 8)], None, 2 * 3 * 4 * 5 * 8),
    (" b n d , k d -> b n k ", [(2, 3, 8), (5, 8)], None, 2 * 3 * 5 * 8),
    ("...nd,...md->...nm", [(7, 2, 4, 8), (2, 5, 8)], None, 7 * 2 * 4 * 5 * 8),
    ("bdnk,bnk->bnd", [(2, 3, 4, 9), (2, 4, 9)], None, 2 * 3 * 4 * 9),
    ("bi,bi->b", [(2, 5), (2, 5)], None, 10),
    ("bi,bi->bi", [(2, 5), (2, 5)], None, 0),  # an elementwise product
    ("bhwc,c->bhwc", [(2, 3, 4, 8), (8,)], None, 0),
    ("ij->ji", [(2, 3)], None, 0),
    ("ii->i", [(3, 3)], None, 0),
    ("ij,jk->ik", [(2, 1), (3, 5)], None, 2 * 3 * 5),  # a broadcast axis
    ("ij,jk,kl->il", [(2, 3), (3, 5), (5, 7)], None, 2 * 3 * 5 + 2 * 5 * 7),
    ("ij,jk,kl->il", [(2, 3), (3, 5), (5, 7)], [1, 2, 0, 1], 3 * 5 * 7 + 2 * 3 * 7),
]


@pytest.mark.parametrize(("equation", "shapes", "path", "expected"), CASES)
def test_cost_of_a_contraction(
    equation: str, shapes: list[tuple[int, ...]], path: list[int] | None, expected: int
) -> None:
    assert contraction_macs(equation, shapes, path) == expected
