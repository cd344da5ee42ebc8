"""The numbers of an affinity against definitions written out over dense rows, and against answers that are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from stmbench.analyses.affinity import row_statistics
from stmbench.analyses.affinity.layers import Geometry
from stmbench.analyses.affinity.row_statistics import NAMES, layer_numbers
from stmbench.mixers.affinity import (
    Affinity,
    AttentionAffinity,
    MatrixAffinity,
    MixtureAffinity,
    RepeatedHeads,
    StencilAffinity,
    map_columns,
    square_offsets,
)
from stmbench.mixers.base import MIXERS, BlockPosition

HEIGHT, WIDTH, PIXELS, RADII = 6, 9, (4.0, 8.0), (1.5, 3.0)
TOKENS = HEIGHT * WIDTH
MIXER_OPTIONS = {
    "halo_attn": {"window": 4, "halo": 2, "head_dim": 8},
    "sr_attn": {"head_dim": 8, "ratios": (4, 2, 1, 1)},  # a ratio that leaves rows and columns over
    "sw_attn": {"window": 4, "head_dim": 8},
    "dw_conv": {"kernel": 5},
    "dcnv3": {"group_dim": 8},
}


def geometry(affinity: Affinity) -> Geometry:
    return Geometry(columns=affinity.columns, height=HEIGHT, width=WIDTH, pixels=PIXELS, radii=RADII)


def numbers(affinity: Affinity, place: Geometry) -> Tensor:
    return layer_numbers(affinity, place)["whole"]


def written_out(affinity: Affinity) -> Tensor:
    """(B, heads, numbers), row by row and column by column, patches token by token."""
    rows, columns = affinity.dense().double().abs(), affinity.columns
    found = torch.zeros(*rows.shape[:2], TOKENS, len(NAMES) + len(RADII), dtype=torch.float64)
    for query in range(TOKENS):
        y, x = divmod(query, WIDTH)
        near = torch.zeros(len(columns), 4 + len(RADII), dtype=torch.float64)  # distance, dy, dx, own, within
        for column, (top, left, bottom, right) in enumerate(columns.boxes.tolist()):
            tokens = [(i, j) for i in range(top, bottom) for j in range(left, right)]
            for i, j in tokens:
                dy, dx = (i - y) * PIXELS[0], (j - x) * PIXELS[1]
                within = [float(math.hypot(i - y, j - x) <= radius) for radius in RADII]
                one = torch.tensor([math.hypot(dy, dx), dy, dx, float((i, j) == (y, x)), *within])
                near[column] += one / len(tokens)
        mass = rows[:, :, query]
        padding = mass[..., columns.padding].sum(-1) / mass.sum(-1)
        share = mass * ~columns.padding
        share = share / share.sum(-1, keepdim=True)
        means = share @ near
        entropy = -torch.xlogy(share, share).sum(-1) / math.log(2)
        offset = torch.hypot(means[..., 1], means[..., 2])
        named = [means[..., 0], entropy, means[..., 3], offset, means[..., 1], means[..., 2], padding]
        found[:, :, query] = torch.stack([*named, *means[..., 4:].unbind(-1)], dim=-1)
    return found.nanmean(2)


@pytest.mark.parametrize("name", MIXER_OPTIONS)
def test_numbers_of_mixers_are_those_of_their_dense_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    position = BlockPosition(stage=0, block=1, dim=16, resolution=(HEIGHT, WIDTH))
    mixer = MIXERS.get(name).build(position, **MIXER_OPTIONS[name])
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        affinity = mixer.affinity(torch.randn(2, HEIGHT, WIDTH, 16))
        found = numbers(affinity, geometry(affinity))
        expected = written_out(affinity)
        torch.testing.assert_close(found.expand_as(expected), expected, rtol=1e-4, atol=1e-4)
        assert len(found) == (1 if affinity.dynamic is None else 2)
        monkeypatch.setattr(row_statistics, "BLOCK", 1000)  # a few rows at a time
        torch.testing.assert_close(numbers(affinity, geometry(affinity)), found, rtol=1e-5, atol=1e-5)


def mixture(*, sparse: bool) -> MixtureAffinity:
    """Two heads of attention over four channels, and a kernel or a matrix of weights of both signs."""
    torch.manual_seed(1)
    columns = map_columns(HEIGHT, WIDTH)
    q, k = 2 * torch.randn(2, 2, 2, TOKENS, 5)
    dynamic = RepeatedHeads(AttentionAffinity(q, k, columns), 2)
    static: Affinity = StencilAffinity(
        0.3 * torch.randn(1, 4, 1, 9), square_offsets(3), columns, kind="static", batch=2
    )
    if not sparse:
        static = MatrixAffinity(0.1 * torch.randn(1, 4, TOKENS, TOKENS), columns, kind="static", batch=2)
    return MixtureAffinity(dynamic, static, alpha=torch.tensor(-0.7), beta=torch.tensor([0.5, 1.0, 2.0, 0.0]))


@pytest.mark.parametrize("sparse", [True, False])
def test_numbers_of_a_mixture_are_those_of_its_dense_rows(sparse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    affinity = mixture(sparse=sparse)
    every = layer_numbers(affinity, geometry(affinity))
    for part, piece in (("whole", affinity), ("static", affinity.static), ("dynamic", affinity.dynamic)):
        found = every[part].expand(2, -1, -1)
        there = written_out(piece).isfinite()  # a beta of 0 leaves a head without a static part
        torch.testing.assert_close(found[there], written_out(piece)[there], rtol=1e-3, atol=1e-3)
    monkeypatch.setattr(row_statistics, "BLOCK", 1000)
    torch.testing.assert_close(numbers(affinity, geometry(affinity)), written_out(affinity), rtol=1e-3, atol=1e-3)


def test_parts_are_compared_by_the_cosine_of_their_rows_and_by_their_mass() -> None:
    affinity = mixture(sparse=True)
    static, dynamic = affinity.static.dense(), affinity.dynamic.dense()
    found = layer_numbers(affinity, geometry(affinity))["parts"]
    cosine = torch.nn.functional.cosine_similarity(static, dynamic, dim=-1).mean(2)
    torch.testing.assert_close(found[..., 0].float(), cosine, rtol=1e-4, atol=1e-5)
    masses = [part.abs().sum(-1) for part in (static, dynamic)]
    share = (masses[0] / (masses[0] + masses[1])).mean(2)
    torch.testing.assert_close(found[..., 1].float(), share, rtol=1e-4, atol=1e-5)
    assert found[:, 3].abs().max() == 0  # beta 0: nothing is static


def kernel(*taps: tuple[int, int, float]) -> dict[str, float]:
    """The numbers of a 3 x 3 kernel of (dy, dx, weight), on a map so large that its border counts for little."""
    weights = torch.zeros(1, 1, 1, 9)
    for dy, dx, weight in taps:
        weights[0, 0, 0, 3 * (dy + 1) + dx + 1] = weight
    columns = map_columns(200, 200)
    affinity = StencilAffinity(weights, square_offsets(3), columns, kind="static", batch=1)
    place = Geometry(columns=columns, height=200, width=200, pixels=(2.0, 2.0), radii=(1.0,))
    return dict(zip((*NAMES, "mass_within"), numbers(affinity, place)[0, 0].tolist(), strict=True))


def test_an_identity_looks_at_itself() -> None:
    found = kernel((0, 0, -3.0))
    assert found == pytest.approx(dict.fromkeys(found, 0.0) | {"self_weight": 1.0, "mass_within": 1.0}, abs=1e-6)


def test_a_shift_has_a_distance_and_an_offset() -> None:
    found = kernel((0, 1, 1.0))
    assert found["attention_distance"] == pytest.approx(2.0)
    assert found["centroid_x"] == pytest.approx(2.0)
    assert found["centroid_y"] == pytest.approx(0.0)
    assert found["centroid_offset"] == pytest.approx(2.0)
    assert found["self_weight"] == 0
    assert found["mass_within"] == 1.0


def test_opposite_taps_cancel_in_the_offset_and_not_in_the_distance() -> None:
    found = kernel((0, 1, 1.0), (0, -1, -1.0))
    assert found["attention_distance"] == pytest.approx(2.0)
    assert found["centroid_offset"] == pytest.approx(0.0, abs=0.03)  # the border: 2 of 200 columns
    assert found["affinity_entropy"] == pytest.approx(1.0, abs=0.02)


def test_uniform_attention_has_the_largest_entropy() -> None:
    columns = map_columns(HEIGHT, WIDTH)
    zeros = torch.zeros(1, 1, TOKENS, 3)
    affinity = AttentionAffinity(zeros, zeros, columns)
    found = dict(zip(NAMES, numbers(affinity, geometry(affinity))[0, 0].tolist(), strict=False))
    assert found["affinity_entropy"] == pytest.approx(math.log2(TOKENS))
    assert found["self_weight"] == pytest.approx(1 / TOKENS)
    assert found["centroid_y"] == pytest.approx(0, abs=1e-4)  # what the top lacks, the bottom has too much


def test_padding_is_a_number_of_its_own_and_left_out_of_the_others() -> None:
    columns = map_columns(2, 2, padded=(2, 3))
    weights = torch.tensor([0.5, 0.0, 0.0, 0.0, 0.0, 0.5]).expand(1, 1, 4, 6)
    affinity = MatrixAffinity(weights, columns, kind="static", batch=1)
    place = Geometry(columns=columns, height=2, width=2, pixels=(1.0, 1.0), radii=())
    found = dict(zip(NAMES, numbers(affinity, place)[0, 0].tolist(), strict=True))
    assert found["padding_mass"] == pytest.approx(0.5)
    assert found["affinity_entropy"] == pytest.approx(0)
    assert found["attention_distance"] == pytest.approx((0 + 1 + 1 + math.sqrt(2)) / 4)


def test_a_row_with_nothing_on_the_map_is_left_out() -> None:
    columns = map_columns(1, 2, padded=(1, 3))
    weights = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]).view(1, 1, 2, 3)
    affinity = MatrixAffinity(weights, columns, kind="static", batch=1)
    place = Geometry(columns=columns, height=1, width=2, pixels=(1.0, 1.0), radii=())
    found = dict(zip(NAMES, numbers(affinity, place)[0, 0].tolist(), strict=True))
    assert found["self_weight"] == 1.0
    assert found["padding_mass"] == 0.5
