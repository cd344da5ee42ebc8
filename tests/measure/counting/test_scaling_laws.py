"""How costs must grow, whatever the sizes."""

from __future__ import annotations

import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from stmbench.measure.counting import MAC_KINDS, Tally, count
from stmbench.mixers.base import MIXERS, BlockPosition
from tests.measure.counting.operations import Operation

sizes = st.integers(min_value=1, max_value=12)
cheap = settings(max_examples=15, deadline=None)


@cheap
@given(sizes, sizes, sizes, sizes)
def test_convolution_is_linear_in_channels_and_area(rows: int, columns: int, inputs: int, outputs: int) -> None:
    module = nn.Conv2d(inputs, outputs, 3, padding=1)
    assert count(module, (inputs, rows, columns)).macs == rows * columns * inputs * outputs * 9


@cheap
@given(sizes, sizes, st.integers(min_value=1, max_value=4))
def test_attention_is_quadratic_in_tokens(tokens: int, depth: int, factor: int) -> None:
    attention = Operation(lambda x: F.scaled_dot_product_attention(x, x, x))
    once, more = (count(attention, (2, n, depth)).macs for n in (tokens, factor * tokens))
    assert more == factor**2 * once


@cheap
@given(st.integers(min_value=7, max_value=20), st.integers(min_value=7, max_value=20))
def test_dcnv3_is_linear_in_area(rows: int, columns: int) -> None:
    mixer = MIXERS.get("dcnv3").build(BlockPosition(stage=0, block=0, dim=16, resolution=(14, 14)))
    each = count(mixer, (1, 1, 16)).macs
    assert count(mixer, (rows, columns, 16)).macs == rows * columns * each


@given(
    st.dictionaries(st.sampled_from(sorted(MAC_KINDS)), st.integers(min_value=1, max_value=10**12)),
    st.integers(min_value=0, max_value=10**9),
)
def test_tallies_add_up(kinds: dict[str, int], params: int) -> None:
    tally = Tally(kinds=kinds, params=params)
    assert (tally + tally).macs == 2 * tally.macs == 2 * sum(kinds.values())
    assert tally + Tally() == tally
