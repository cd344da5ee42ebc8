"""Every form of affinity against a matrix written out by hand: rows, entries, dense, apply, parts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stmbench.errors import InputError
from stmbench.mixers.affinity import (
    Affinity,
    AttentionAffinity,
    CascadeAffinity,
    MatrixAffinity,
    MixtureAffinity,
    PointAffinity,
    RepeatedHeads,
    ScaledAffinity,
    StencilAffinity,
    WindowAffinity,
    map_columns,
    square_offsets,
    with_outside,
)

HEIGHT, WIDTH, BATCH = 3, 4, 2
TOKENS = HEIGHT * WIDTH
Pair = tuple[Affinity, Tensor]  # the form and the matrix it stands for


def attention() -> Pair:
    q, k = torch.randn(2, BATCH, 2, TOKENS, 5, dtype=torch.float64)
    bias = torch.randn(2, TOKENS, TOKENS, dtype=torch.float64)
    matrix = (torch.einsum("bhqd,bhkd->bhqk", q, k) / 5**0.5 + bias).softmax(-1)
    return AttentionAffinity(q, k, map_columns(HEIGHT, WIDTH), bias=bias), matrix


def matrix() -> Pair:
    weights = torch.randn(1, 2, TOKENS, TOKENS, dtype=torch.float64)
    held = MatrixAffinity(weights, map_columns(HEIGHT, WIDTH), kind="static", batch=BATCH)
    return held, weights.expand(BATCH, -1, -1, -1)


def windows() -> Pair:
    """Two windows of 3 x 2, of which the second sees only three keys, in another order."""
    places = torch.arange(TOKENS).view(HEIGHT, WIDTH)
    queries = torch.stack((places[:, :2].flatten(), places[:, 2:].flatten()))
    queries = torch.cat((queries, torch.full((2, 1), -1)), dim=1)  # and one query each that is thrown away
    keys = torch.tensor([[3, 1, 0, 8], [11, 2, 5, -1]])
    weights = torch.rand(BATCH, 2, 2, 7, 4, dtype=torch.float64)
    weights[:, :, 1, :, 3] = 0
    written = torch.zeros(BATCH, 2, TOKENS, TOKENS, dtype=torch.float64)
    for window in range(2):
        for slot, query in enumerate(queries[window].tolist()):
            for place, key in enumerate(keys[window].tolist()):
                if query >= 0 and key >= 0:
                    written[:, :, query, key] = weights[:, :, window, slot, place]
    columns = map_columns(HEIGHT, WIDTH)
    return WindowAffinity(weights, queries=queries, keys=keys, outputs=TOKENS, columns=columns), written


def stencil(*, dynamic: bool) -> Pair:
    shape = (BATCH, 4, TOKENS, 9) if dynamic else (1, 4, 1, 9)
    weights = torch.randn(shape, dtype=torch.float64)
    written = torch.zeros(BATCH, 4, TOKENS, TOKENS, dtype=torch.float64)
    full = weights.expand(BATCH, -1, TOKENS, -1)
    for query in range(TOKENS):
        for tap in range(9):
            y, x = query // WIDTH + tap // 3 - 1, query % WIDTH + tap % 3 - 1
            if 0 <= y < HEIGHT and 0 <= x < WIDTH:
                written[:, :, query, y * WIDTH + x] = full[:, :, query, tap]
    kind = "dynamic" if dynamic else "static"
    columns = map_columns(HEIGHT, WIDTH)
    return StencilAffinity(weights, square_offsets(3), columns, kind=kind, batch=BATCH), written


def points(count: int = 7) -> Pair:
    """Points on few columns, so that some are shared; the last column is off the map."""
    index = torch.randint(0, 4, (BATCH, 2, TOKENS, count)) * 4
    weights = torch.randn(BATCH, 2, TOKENS, count, dtype=torch.float64)
    written = torch.zeros(BATCH, 2, TOKENS, TOKENS + 1, dtype=torch.float64)
    for place in torch.cartesian_prod(*(torch.arange(size) for size in index.shape)).tolist():
        b, h, q, k = place
        written[b, h, q, index[b, h, q, k]] += weights[b, h, q, k]
    return PointAffinity(index, weights, with_outside(map_columns(HEIGHT, WIDTH))), written


def repeated() -> Pair:
    affinity, written = attention()
    return RepeatedHeads(affinity, 3), written.repeat_interleave(3, dim=1)


def scaled() -> Pair:
    affinity, written = stencil(dynamic=False)
    factor = torch.randn(4, dtype=torch.float64)
    return ScaledAffinity(affinity, factor), written * factor.view(4, 1, 1)


def mixture() -> Pair:
    (dynamic, first), (static, second) = attention(), stencil(dynamic=False)
    alpha, beta = torch.randn((), dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    whole = MixtureAffinity(RepeatedHeads(dynamic, 2), static, alpha=alpha, beta=beta)
    return whole, alpha * first.repeat_interleave(2, dim=1) + beta.view(4, 1, 1) * second


def cascade() -> Pair:
    """A 3 x 3 and a 1 x 1 convolution: of matrices, one after the other."""
    channels, columns = 4, map_columns(HEIGHT, WIDTH)
    kernels = [torch.randn(channels, side, side, dtype=torch.float64) for side in (3, 1)]
    gates = [torch.rand(BATCH, channels, HEIGHT, WIDTH, dtype=torch.float64) for _ in kernels]
    weights = torch.randn(BATCH, 2, HEIGHT, WIDTH, dtype=torch.float64)
    mean = torch.randn(BATCH, channels, HEIGHT, WIDTH, dtype=torch.float64)
    taps = kernels[0].view(1, channels, 1, 9)
    first = StencilAffinity(taps, square_offsets(3), columns, kind="static", batch=BATCH).dense()
    first = gates[0].flatten(2)[..., None] * first
    second = (gates[1].flatten(2) * kernels[1].view(channels, 1))[..., None] * first
    own = weights.flatten(2)[..., None]
    written = own[:, :1] * first + own[:, 1:] * second + mean.flatten(2)[..., None] * second.mean(2, keepdim=True)
    return CascadeAffinity(kernels, gates, weights, mean, columns), written


FORMS: dict[str, Callable[[], Pair]] = {
    "attention": attention,
    "matrix": matrix,
    "windows": windows,
    "static stencil": lambda: stencil(dynamic=False),
    "dynamic stencil": lambda: stencil(dynamic=True),
    "points": points,
    "many points": lambda: points(2 * TOKENS),
    "repeated": repeated,
    "scaled": scaled,
    "mixture": mixture,
    "cascade": cascade,
}


@pytest.fixture(params=FORMS)
def pair(request: pytest.FixtureRequest) -> Pair:
    torch.manual_seed(0)
    return FORMS[request.param]()


def test_dense_form_equals_the_matrix(pair: Pair) -> None:
    affinity, written = pair
    assert affinity.shape == tuple(written.shape)
    assert affinity.dense().shape == written.shape
    torch.testing.assert_close(affinity.dense(), written)


def test_rows_are_those_of_the_matrix_in_the_order_asked_for(pair: Pair) -> None:
    affinity, written = pair
    queries = torch.tensor([7, 0, 11, 7])
    torch.testing.assert_close(affinity.rows(queries), written[:, :, queries])


def test_entries_hold_each_column_once(pair: Pair) -> None:
    affinity, written = pair
    queries = torch.tensor([5, 0, 11])
    columns, weights = affinity.entries(queries)
    assert columns.shape[-2:] == weights.shape[-2:]
    rows = torch.zeros(BATCH, *written.shape[1:2], 3, written.shape[3], dtype=torch.float64)
    rows.scatter_add_(3, columns.expand(*rows.shape[:2], -1, -1), weights.expand(BATCH, -1, -1, -1))
    torch.testing.assert_close(rows, written[:, :, queries])
    for place, row in enumerate(columns.expand(*rows.shape[:2], -1, -1)[1, 1].tolist()):
        used = [column for column, weight in zip(row, weights[-1, 1, place].tolist(), strict=True) if weight != 0]
        assert len(used) == len(set(used))


def test_apply_equals_the_matrix_product(pair: Pair) -> None:
    affinity, written = pair
    values = torch.randn(*written.shape[:2], written.shape[3], 6, dtype=torch.float64)
    torch.testing.assert_close(affinity.apply(values), written @ values)


def test_many_points_are_applied_as_one_matrix() -> None:
    """Point by point autograd keeps a map of values for each: 10 GB for deformable attention on a map of 14 x 14."""
    affinity, written = points(2 * TOKENS)
    assert isinstance(affinity, PointAffinity)
    values = torch.randn(*written.shape[:2], written.shape[3], 32, dtype=torch.float64, requires_grad=True)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each.numel()) or each, lambda each: each):
        mixed = affinity.apply(values)
    assert sum(kept) <= 2 * (written.numel() + values.numel())
    mixed.sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(values.grad, written.sum(2)[..., None].expand_as(values))


def test_static_and_dynamic_parts_sum_to_the_whole(pair: Pair) -> None:
    affinity, written = pair
    parts = [part for part in (affinity.static, affinity.dynamic) if part is not None]
    assert parts
    torch.testing.assert_close(sum(part.dense() for part in parts), written)
    if affinity.static is not None:
        first, second = affinity.static.dense()
        torch.testing.assert_close(first, second)


def test_blocks_cover_every_output_once(pair: Pair) -> None:
    affinity, _ = pair
    row = affinity.shape[0] * affinity.shape[1] * affinity.shape[3]
    blocks = list(affinity.blocks(5 * row))
    assert [len(block) for block in blocks] == [5, 5, 2]
    assert torch.cat(blocks).tolist() == list(range(TOKENS))
    assert [len(block) for block in affinity.blocks(1)] == [1] * TOKENS


def test_dense_refuses_above_its_limit_and_names_rows() -> None:
    affinity, _ = attention()
    with pytest.raises(InputError, match=r"at most 575 numbers, got 2 x 2 x 12 x 12 = 576; .*rows\(queries\)"):
        affinity.dense(limit=575)
    assert affinity.dense(limit=576).numel() == 576


def test_coefficients_are_given_head_by_head() -> None:
    affinity, _ = mixture()
    assert {name: tuple(value.shape) for name, value in affinity.coefficients.items()} == {"alpha": (4,), "beta": (4,)}
    assert attention()[0].coefficients == {}
