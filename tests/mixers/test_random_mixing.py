"""MetaFormer's random mixing: frozen, kept with the weights, resized or refused at other sizes."""

from __future__ import annotations

import pytest
import torch

from stmbench.checkpoints import load_checkpoint
from stmbench.errors import ConfigError
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.mixers.random_mixing import FEW, RandomMixing, RandomMixingConfig

SIDE = 17  # N = 289
assert SIDE**2 > FEW


def built(height: int, width: int, *, resize: bool = True) -> RandomMixing:
    torch.manual_seed(0)
    return RandomMixing(RandomMixingConfig(dim=8, resolution=(height, width), resize=resize)).double()


@pytest.mark.parametrize("size", [(5, 6), (SIDE, SIDE), (1, 1)])
def test_the_authors_matrix(size: tuple[int, int]) -> None:
    """softmax(rand(N, N)) under the authors' name, applied to tokens row by row."""
    tokens = size[0] * size[1]
    matrix = torch.rand(tokens, tokens, dtype=torch.float64).softmax(dim=-1)
    module = built(*size)
    load_checkpoint(module, {"random_matrix": matrix})
    x = torch.randn(2, *size, 8, dtype=torch.float64)
    expected = torch.einsum("mn,bnc->bmc", matrix, x.reshape(2, tokens, 8)).view(x.shape)
    assert torch.allclose(module(x), expected, atol=1e-13)
    assert module(x).is_contiguous()


def test_the_matrix_is_frozen_positive_and_kept() -> None:
    module = built(6, 6)
    assert list(module.parameters()) == []
    assert list(module.state_dict()) == ["matrix"]
    assert float(module.matrix.min()) > 0
    assert torch.allclose(module.matrix.sum(dim=1), torch.ones(36, dtype=torch.float64))
    # e^R / sum of e^R with R in [0, 1): no entry is more than e times another of its row
    assert 1.5 < float((module.matrix.amax(1) / module.matrix.amin(1)).max()) < 2.7183
    torch.manual_seed(1)
    assert not torch.equal(RandomMixing(module.config).matrix, module.matrix.float())


def test_other_sizes_are_resized_or_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected a map of 6x6, .* got 5x9.* img_size="):
        built(6, 6, resize=False)(torch.randn(1, 5, 9, 8, dtype=torch.float64))
    module, x = built(6, 6), torch.randn(1, 5, 9, 8, dtype=torch.float64)
    rows = module.affinity(x).dense()
    assert torch.allclose(rows.sum(dim=3), torch.ones_like(rows[..., 0]))
    assert float(rows.min()) > 0
    assert torch.allclose(module(x), module.reference(x), atol=1e-13)
    assert torch.allclose(module(torch.ones_like(x)), torch.ones_like(x))


def test_one_graph() -> None:
    module = MIXERS.get("random_mixing").build(BlockPosition(stage=0, block=0, dim=32, resolution=(14, 14)))
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    for size in ((14, 14), (9, 7)):
        x = torch.randn(2, *size, 32)
        assert torch.allclose(compiled(x), module(x), rtol=1e-5, atol=1e-6)
