"""The Jacobian affinity against exact ones: of linear mixers, whose Jacobian the affinity gives, and of functions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stmbench.errors import InputError
from stmbench.mixers.affinity import base, jacobian_affinity
from stmbench.mixers.base import MIXERS, BlockPosition

HEIGHT, WIDTH = 5, 6


def _mixer(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    position = BlockPosition(stage=0, block=1, dim=8, resolution=(HEIGHT, WIDTH))
    mixer = MIXERS.get(name).build(position, **options).double().eval()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return mixer


def _images(batch: int = 2) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(batch, HEIGHT, WIDTH, 8, dtype=torch.float64)


def test_linear_mixer_equals_the_norm_of_its_affinity() -> None:
    mixer, positions = _mixer("dw_conv", kernel=3), torch.tensor([0, 8, 29])
    rows = mixer.affinity(_images()).rows(positions)  # B, C, P, N: every channel is a head
    # d out_p / d in_k = W_out diag(a_pk) W_in
    blocks = torch.einsum("oc,bcpk,ci->bpkoi", mixer.proj_out.weight, rows, mixer.proj_in.weight)
    norms = jacobian_affinity(mixer, _images(), positions)
    torch.testing.assert_close(norms, blocks.square().sum((3, 4)).sqrt())


@pytest.mark.parametrize(("name", "options"), [("sw_attn", {"window": 4, "head_dim": 4}), ("dcnv3", {"group_dim": 4})])
def test_dynamic_mixer_equals_autograd(name: str, options: dict[str, int]) -> None:
    mixer, positions, images = _mixer(name, **options), torch.tensor([3, 14]), _images(1)
    whole = torch.autograd.functional.jacobian(mixer, images)  # 1, H, W, C, 1, H, W, C
    expected = whole.square().sum((3, 7)).sqrt().view(HEIGHT * WIDTH, HEIGHT * WIDTH)[positions]
    torch.testing.assert_close(jacobian_affinity(mixer, images, positions)[0], expected)


def test_small_batches_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    mixer, positions = _mixer("dw_conv", kernel=3), torch.tensor([7, 2, 7])
    expected = jacobian_affinity(mixer, _images(), positions)
    monkeypatch.setattr(base, "NUMBERS", 5 * HEIGHT * WIDTH * 8)  # five copies, and 24 products
    torch.testing.assert_close(jacobian_affinity(mixer, _images(), positions), expected)
    torch.testing.assert_close(expected[:, 0], expected[:, 2])


def test_the_output_may_have_another_map_than_the_input() -> None:
    pool = nn.AvgPool2d(2)
    norms = jacobian_affinity(
        lambda x: pool(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), _images(1)[:, :4], torch.tensor([4])
    )
    expected = torch.zeros(4, 6, dtype=torch.float64)
    expected[2:4, 2:4] = 8**0.5 / 4  # the identity of eight channels, a quarter of it for each token
    torch.testing.assert_close(norms.view(4, 6), expected)


def test_a_position_off_the_map_is_refused() -> None:
    with pytest.raises(InputError, match="positions 0 to 29, on a map of 5 x 6, got 30"):
        jacobian_affinity(nn.Identity(), _images(), torch.tensor([3, 30]))


def test_works_under_no_grad() -> None:
    with torch.no_grad():
        norms = jacobian_affinity(nn.Identity(), _images(1), torch.tensor([4]))
    assert norms[0, 0].nonzero().flatten().tolist() == [4]
    assert not norms.requires_grad
