"""Bi-WKV: the paper's sums written out, initial weights by block, large keys, the authors' names."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from stmbench.checkpoints import load_checkpoint
from stmbench.errors import ConfigError
from stmbench.measure.counting import count
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.mixers.bi_wkv import BiWKV, BiWKVConfig, q_shift


def _mixer(dim: int = 8, **options: object) -> BiWKV:
    torch.manual_seed(0)
    return BiWKV(BiWKVConfig(dim=dim, **options)).double().eval()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"key_norm": True}, {"shift": False}, {"init": "local"}, {"init": "global"}, {"index": 2, "depth": 3}]
)
@pytest.mark.parametrize("dim", [8, 6, 3])  # quarters, quarters and a rest, a rest only
def test_every_option_agrees_with_the_reference(options: dict[str, object], dim: int) -> None:
    mixer = _mixer(dim, **options)
    for size in ((1, 1), (3, 4)):
        x = torch.randn(2, *size, dim, dtype=torch.float64)
        torch.testing.assert_close(mixer(x), mixer.reference(x), rtol=0, atol=1e-12)


def test_the_weights_are_those_of_equation_3() -> None:
    mixer = _mixer(4, index=1, depth=2)
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64)
    k = mixer._projected(x)[0].flatten(1, 2)[0].detach()  # T, C
    dense = mixer.affinity(x).dense()[0].detach()
    w, u, tokens = mixer.spatial_decay.detach(), mixer.spatial_first.detach(), 6
    for channel, t in ((0, 0), (3, 4)):
        expected = [
            math.exp(k[i, channel] + (u[channel] / tokens if i == t else -(abs(t - i) - 1) * w[channel] / tokens))
            for i in range(tokens)
        ]
        total = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(dense[channel, t], total / total.sum(), rtol=0, atol=1e-12)


def test_shares_come_from_the_four_neighbours() -> None:
    x = torch.arange(1.0, 10).view(1, 3, 3, 1).expand(1, 3, 3, 5)
    centre, corner = q_shift(x)[0, 1, 1].tolist(), q_shift(x)[0, 0, 0].tolist()
    assert centre == [4, 6, 2, 8, 5]  # left, right, top, bottom, itself
    assert corner == [0, 2, 0, 4, 1]


def test_initial_weights_depend_on_the_block() -> None:
    def built(index: int, **options: object) -> BiWKV:
        position = BlockPosition(stage=0, block=0, dim=5, resolution=(7, 7), index=index, depth=3)
        module = MIXERS.get("bi_wkv").build(position, **options)
        assert isinstance(module, BiWKV)
        return module

    first, last = built(0), built(2)
    for module, power in ((first, 0.7), (last, 2.0)):
        decays = [-5 + 8 * (channel / 4) ** power for channel in range(5)]
        assert module.spatial_decay.tolist() == pytest.approx(decays, abs=1e-6)
        bonus = [math.log(0.3) + step for step in (0, 0.5, -0.5, 0, 0.5)]
        assert module.spatial_first.tolist() == pytest.approx(bonus, abs=1e-6)
    assert first.spatial_mix_k.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert first.spatial_mix_v.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert last.spatial_mix_v.tolist() == pytest.approx([(c / 5) ** (1 / 3) + 0.3 for c in range(5)])
    assert last.spatial_mix_r.tolist() == pytest.approx([(c / 5) ** (1 / 6) for c in range(5)])
    assert built(1, init="local").spatial_decay.tolist() == [1] * 5
    assert built(1, init="global").spatial_mix_r.tolist() == [0.5] * 5


def test_large_keys_and_decays_stay_finite_and_exact() -> None:
    mixer = _mixer(4, shift=False)
    with torch.no_grad():
        mixer.key.weight.mul_(60)
        mixer.spatial_decay.copy_(torch.tensor([80.0, -80.0, 20.0, 0.0]))
    x = torch.randn(1, 7, 9, 4, dtype=torch.float64)
    expected = mixer.reference(x)
    single = BiWKV(mixer.config).eval()
    single.load_state_dict(mixer.state_dict())
    y = single(x.float())
    assert bool(y.isfinite().all())
    assert float((y - expected).detach().norm() / expected.detach().norm()) < 1e-4


@pytest.mark.parametrize("size", [(7, 9), (1, 2), (1, 1)])
@pytest.mark.parametrize(
    ("decay", "first"), [(-100, 0), (-1000, 0), (300, 0), (0, 90), (-100, 120), (-100, -1000), (0, -1000)]
)  # the second one divided by the tokens
def test_any_decay_and_bonus_are_exact_in_single_precision(decay: float, first: float, size: tuple[int, int]) -> None:
    mixer = _mixer(4, shift=False)
    with torch.no_grad():
        mixer.spatial_decay.copy_(decay * torch.tensor([1.0, 0.7, 0.99, 0.0]))
        mixer.spatial_first.copy_(first * size[0] * size[1] * torch.tensor([1.0, 1.0, 0.5, 1.0]))
    x = torch.randn(2, *size, 4, dtype=torch.float64)
    expected = mixer.reference(x)
    single = BiWKV(mixer.config).eval()
    single.load_state_dict(mixer.state_dict())
    y = single(x.float())
    assert float((y - expected).detach().norm() / expected.detach().norm()) < 1e-4
    expected.square().sum().backward()
    y.double().square().sum().backward()
    for (name, found), right in zip(single.named_parameters(), mixer.parameters(), strict=True):
        assert found.grad is not None, name
        assert right.grad is not None, name
        assert float((found.grad - right.grad).norm()) < 1e-3 * (float(right.grad.norm()) + 1e-3), name


def test_the_authors_state_dict_fits() -> None:
    shapes: dict[str, tuple[int, ...]] = {f"spatial_mix_{name}": (1, 1, 8) for name in "kvr"}
    shapes |= {f"{name}.weight": (8, 8) for name in ("key", "value", "receptance", "output")}
    state: dict[str, Tensor] = {name: torch.randn(shape) for name, shape in shapes.items()}
    state |= {"spatial_decay": torch.randn(8), "spatial_first": torch.randn(8)}
    mixer = BiWKV(BiWKVConfig(dim=8))
    load_checkpoint(mixer, state)
    assert torch.equal(mixer.spatial_mix_v, state["spatial_mix_v"][0, 0])
    assert mixer.no_weight_decay() == {name for name in state if name.startswith("spatial")}


def test_parameters_and_multiply_adds() -> None:
    mixer = BiWKV(BiWKVConfig(dim=96))
    assert sum(p.numel() for p in mixer.parameters()) == 4 * 96**2 + 5 * 96
    counts = count(mixer, (4, 5, 96)).total
    assert dict(counts.kinds) == {"linear": 20 * 4 * 96**2, "recurrence": 20 * 4 * 96}


def test_it_compiles_to_one_graph() -> None:
    mixer, x = BiWKV(BiWKVConfig(dim=8)), torch.randn(1, 3, 5, 8)
    torch.testing.assert_close(torch.compile(mixer, fullgraph=True, backend="eager")(x), mixer(x))


@pytest.mark.parametrize(("option", "message"), [({"init": "x"}, "fancy, local, global"), ({"index": 1}, "0 to 0")])
def test_nonsense_is_refused(option: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BiWKVConfig(dim=8, **option)  # type: ignore[arg-type]
