"""Log amplitudes of feature maps in the Fourier domain, those of Park and Kim 2022, section 2 and Fig. 2."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

EPSILON: Final = 1e-6  # added to amplitudes before the logarithm, as in the authors' code
Floats = NDArray[np.float64]


def frequencies(height: int, width: int) -> Floats:
    """(K,) normalised frequencies 2 k / n of a map, in units of pi, n its shorter side: from 0 to 1, or to 1 - 1/n of
    an odd side."""
    shorter = min(height, width)
    return 2 * np.arange(shorter // 2 + 1) / shorter


def log_amplitudes(maps: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H, W // 2 + 1): the mean over channels of ln(|DFT| + 1e-6); the other half mirrors it."""
    amplitudes: Tensor = torch.fft.rfft2(maps).abs()
    return (amplitudes + EPSILON).log().mean(1)


def diagonal(amplitudes: Tensor, height: int, width: int) -> Tensor:
    """(B, H, W // 2 + 1) -> (B, K): the bins whose frequency is the same on both axes, as in the paper.

    Of a map that is not square the bins floor(k H / n), floor(k W / n).
    """
    shorter = min(height, width)
    k = torch.arange(shorter // 2 + 1, device=amplitudes.device)
    return amplitudes[:, k * height // shorter, k * width // shorter]


def radial(amplitudes: Tensor, height: int, width: int) -> Tensor:
    """(B, H, W // 2 + 1) -> (B, K): the mean over all bins of the plane whose radius rounds to k, corners left out."""
    shorter = min(height, width)
    y = torch.fft.fftfreq(height, dtype=torch.float64)[:, None] * shorter
    x = torch.fft.rfftfreq(width, dtype=torch.float64)[None, :] * shorter
    ring = (y.square() + x.square()).sqrt().round().long()
    count = shorter // 2 + 1
    times = torch.full((width // 2 + 1,), 2.0, dtype=torch.float64)  # a column stands for its mirror image too
    times[0] = 1.0
    if width % 2 == 0:
        times[-1] = 1.0
    weights = torch.zeros(count, height * (width // 2 + 1), dtype=torch.float64)
    inside = (ring < count).flatten()
    weights[ring.flatten()[inside], inside.nonzero()[:, 0]] = times.expand(height, -1).flatten()[inside]
    weights /= weights.sum(1, keepdim=True)
    return amplitudes.flatten(1) @ weights.T.to(amplitudes)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum:
    """Of N images at one place of a network: (N, K) log amplitudes along the diagonal and by radius."""

    size: tuple[int, int]
    diagonal: Floats
    radial: Floats

    @classmethod
    def of(cls, maps: Tensor) -> Spectrum:
        """The spectrum of (N, C, H, W) maps."""
        height, width = maps.shape[2:]
        amplitudes = log_amplitudes(maps)
        lines = (function(amplitudes, height, width).double().cpu().numpy() for function in (diagonal, radial))
        return cls(size=(height, width), **dict(zip(("diagonal", "radial"), lines, strict=True)))

    @classmethod
    def joined(cls, parts: list[Spectrum]) -> Spectrum:
        """Batches put together."""
        one, other = (np.concatenate([getattr(part, name) for part in parts]) for name in ("diagonal", "radial"))
        return cls(size=parts[0].size, diagonal=one, radial=other)

    @property
    def frequencies(self) -> Floats:
        """(K,) in units of pi."""
        return frequencies(*self.size)

    @property
    def relative(self) -> Floats:
        """(N,) log amplitude at the highest frequency of the diagonal minus that at 0, of each image."""
        return self.diagonal[:, -1] - self.diagonal[:, 0]

    @property
    def is_constant(self) -> bool:
        """Whether the map has no frequency but 0, being one unit high or wide."""
        return min(self.size) < 2

    def curves(self) -> dict[str, Floats]:
        """Means over images, relative to frequency 0: 'diagonal' and 'radial', (K,) each, at 'frequencies'."""
        lines = {"diagonal": self.diagonal.mean(0), "radial": self.radial.mean(0)}
        return {"frequencies": self.frequencies, **{name: curve - curve[0] for name, curve in lines.items()}}
