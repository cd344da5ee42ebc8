"""SS2D: VMamba's own outputs, its variants, precision, and what the parameters cost."""

from __future__ import annotations

import pytest
import torch

from stmbench.errors import ConfigError
from stmbench.measure.counting import count
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.mixers.ss2d import SS2D, SS2DConfig, along_paths, merge_paths
from tests.mixers.golden import check_golden


@pytest.mark.parametrize(
    ("case", "config"),
    [
        ("ss2d_v0", SS2DConfig(dim=64, d_state=16, ssm_ratio=2, variant="v0")),
        ("ss2d_v05", SS2DConfig(dim=64, d_state=16, ssm_ratio=2, variant="v05")),
        ("ss2d_v05_noz", SS2DConfig(dim=64, ssm_ratio=2)),
    ],
)
def test_it_gives_the_authors_outputs(case: str, config: SS2DConfig) -> None:
    check_golden(case, lambda _height, _width: SS2D(config))


def test_v0_and_v05_are_the_same_map() -> None:
    one, other = (SS2D(SS2DConfig(dim=16, variant=variant)).eval() for variant in ("v0", "v05"))
    other.load_state_dict(one.state_dict())
    x = torch.randn(1, 3, 5, 16)
    assert torch.equal(one(x), other(x))


def test_parameters_and_multiply_adds_of_the_published_tiny_network() -> None:
    mixer = MIXERS.get("ss2d").build(BlockPosition(stage=0, block=0, dim=96, resolution=(56, 56)))
    assert sum(p.numel() for p in mixer.parameters()) == 26016
    gated = SS2D(SS2DConfig(dim=96, variant="v0", d_state=16, ssm_ratio=2))
    assert sum(p.numel() for p in gated.parameters()) == 105216
    counts = count(gated, (4, 5, 96))
    dim, inner, rank, states = 96, 192, 6, 16
    per_token = {
        "linear": 3 * dim * inner + 4 * inner * (rank + 2 * states),
        "conv": 9 * inner,
        "matmul": 4 * inner * rank + 4 * inner * states,
        "recurrence": 4 * inner * states,
    }
    assert {kind: counts.total.kinds[kind] for kind in per_token} == {k: 20 * n for k, n in per_token.items()}
    assert counts.macs == 20 * sum(per_token.values()) == gated.macs(4, 5)


def test_paths_come_back_to_their_places() -> None:
    tokens = torch.arange(6.0).view(1, 2, 3, 1)
    paths = along_paths([tokens] * 4)[:, 0, :, 0]
    assert paths.tolist() == [[0, 1, 2, 3, 4, 5], [0, 3, 1, 4, 2, 5], [5, 4, 3, 2, 1, 0], [5, 2, 4, 1, 3, 0]]
    assert torch.equal(merge_paths(along_paths([tokens] * 4), 2, 3), 4 * tokens)


@pytest.mark.parametrize("variant", ["v05_noz", "v0"])
def test_half_precision_scans_in_float32(variant: str) -> None:
    torch.manual_seed(0)
    mixer = SS2D(SS2DConfig(dim=16, d_state=2, variant=variant)).eval()
    x = torch.randn(1, 20, 20, 16)
    expected = mixer(x).detach()
    for dtype, limit in ((torch.bfloat16, 0.05), (torch.float16, 0.01)):
        half = SS2D(mixer.config).eval()
        half.load_state_dict(mixer.state_dict())
        y = half.to(dtype)(x.to(dtype)).detach()
        assert y.dtype == dtype
        assert float((y.float() - expected).norm() / expected.norm()) < limit
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = mixer(x)
    (y.float() ** 2).sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in mixer.parameters())
    assert float((y.detach().float() - expected).norm() / expected.norm()) < 0.05


def test_it_compiles_to_one_graph() -> None:
    mixer, x = SS2D(SS2DConfig(dim=16)), torch.randn(1, 5, 7, 16)
    compiled = torch.compile(mixer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), mixer(x))
    compiled(x).sum().backward()


def test_decays_are_not_decayed() -> None:
    assert SS2D(SS2DConfig(dim=16)).no_weight_decay() == {"A_logs", "Ds"}


@pytest.mark.parametrize(("field", "value"), [("d_state", 0), ("ssm_ratio", 0.0), ("variant", "v1")])
def test_nonsense_is_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field.split("_")[-1] if field != "variant" else "v05_noz, v05, v0"):
        SS2DConfig(dim=16, **{field: value})  # type: ignore[arg-type]
