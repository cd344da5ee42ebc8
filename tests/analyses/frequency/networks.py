"""Models and mixers whose frequency response is known."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from stmbench.analyses.loaded_model import LoadedModel
from stmbench.data.preprocessing import Preprocessing
from stmbench.mixers.base import MixerConfig, register_mixer


def register_box_blur() -> None:
    """A mixer that averages 3 x 3 tokens around the edges: at (pi, pi) it keeps 1/9 of the amplitude."""

    @register_mixer("box_blur", config=MixerConfig)
    class BoxBlur(nn.Module):
        def __init__(self, config: MixerConfig) -> None:
            super().__init__()

        def forward(self, x: Tensor) -> Tensor:
            around = pad(x.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="circular")
            return avg_pool2d(around, 3, 1).permute(0, 2, 3, 1)


class Listening(nn.Module):
    """Says class 1 where the image has more than `threshold` of amplitude in any of the bins of `mask`, else 0.

    `mask` is (H, W // 2 + 1); amplitudes are of the orthonormal transform, so those of r v U_ij are v / 2^(1/2).
    """

    def __init__(self, mask: Tensor, threshold: float) -> None:
        super().__init__()
        self.mask, self.threshold = mask, threshold

    def forward(self, x: Tensor) -> Tensor:
        amplitudes = torch.fft.rfft2(x.double(), norm="ortho").abs() * self.mask
        heard = amplitudes.flatten(1).amax(1) > self.threshold
        return torch.stack([~heard, heard], dim=1).float()


def subject_of(model: nn.Module, size: tuple[int, int], weights: str = "known:0") -> LoadedModel:
    """A loaded whose model gets pixels as they are."""
    return LoadedModel(
        name="unified_identity_nano",
        model=model,
        weights=weights,
        preprocessing=Preprocessing(size=size, mean=(0.0,) * 3, std=(1.0,) * 3),
        num_classes=2,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
