"""Where columns lie: padding below and right, footprints of reduced tokens, the token off the map."""

from __future__ import annotations

import torch

from stmbench.mixers.affinity import bilinear_points, map_columns, reduced_columns, with_outside


def test_a_map_has_a_column_for_every_token() -> None:
    columns = map_columns(2, 3)
    assert len(columns) == 6
    assert columns.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert columns.x.tolist() == [0, 1, 2, 0, 1, 2]
    assert not bool(columns.padding.any())
    assert columns.boxes[4].tolist() == [1, 1, 2, 2]


def test_padding_is_explicit_and_has_no_footprint() -> None:
    columns = map_columns(2, 3, padded=(4, 4))
    assert columns.grid == (4, 4)
    assert columns.padding.view(4, 4).tolist() == [[False] * 3 + [True]] * 2 + [[True] * 4] * 2
    area = (columns.boxes[:, 2:] - columns.boxes[:, :2]).prod(dim=1)
    assert torch.equal(area == 0, columns.padding)


def test_reduced_tokens_lie_in_the_middle_of_their_footprint() -> None:
    columns = reduced_columns(5, 8, grid=(1, 2), stride=4)
    assert columns.y.tolist() == [1.5, 1.5]
    assert columns.x.tolist() == [1.5, 5.5]
    assert columns.boxes.tolist() == [[0, 0, 4, 4], [0, 4, 4, 8]]


def test_a_footprint_ends_with_the_map() -> None:
    assert reduced_columns(3, 2, grid=(1, 1), stride=4).boxes.tolist() == [[0, 0, 3, 2]]


def test_off_map_is_one_column_without_a_position() -> None:
    columns = with_outside(map_columns(2, 2))
    assert len(columns) == 5
    assert columns.grid == (2, 2)
    assert columns.padding.tolist() == [False] * 4 + [True]
    assert bool(columns.y[4].isnan())


def test_a_bilinear_point_is_four_columns_and_its_mass_is_kept() -> None:
    places = torch.tensor([[[1.25, 0.5]], [[-0.5, 0.0]], [[1e30, -3.0]]])  # (x, y)
    index, weights = bilinear_points(places, torch.full((3, 1), 2.0), height=2, width=3, outside=6)
    sums = [dict.fromkeys(range(7), 0.0) for _ in range(3)]
    for row in range(3):
        for column, weight in zip(index[row].tolist(), weights[row].tolist(), strict=True):
            sums[row][column] += weight
    assert sums[0] == {0: 0, 1: 0.75, 2: 0.25, 3: 0, 4: 0.75, 5: 0.25, 6: 0}
    assert sums[1] == {0: 1.0, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 1.0}
    assert sums[2][6] == 2.0
