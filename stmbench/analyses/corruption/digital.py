"""Contrast, elastic transform, pixelation and JPEG compression.

Images are (B, 3, H, W) float32 in [0, 1]; lengths in pixels are those of 224 px, see `blur.scaled`.
"""

from __future__ import annotations

import functools
import io
from typing import Final

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from stmbench.analyses.corruption.blur import scaled
from stmbench.analyses.corruption.noise import Draws
from stmbench.analyses.corruption.resampling import rounded, smoothed
from stmbench.data.preprocessing import to_pixels

CONTRASTS: Final = ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,))
# strength and sigma of the displacements, largest move of the corners; multiples of 244 as published, not of 224
_OF_244 = ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
ELASTICS: Final = tuple((244 * strength, 244 * sigma, 244 * move) for strength, sigma, move in _OF_244)
SHARES: Final = ((0.6,), (0.5,), (0.4,), (0.3,), (0.25,))  # of the side that is left
QUALITIES: Final = ((25,), (18,), (15,), (10,), (7,))


def contrast(images: Tensor, draws: Draws, kept: float) -> Tensor:
    """Each channel is drawn towards its mean over the image."""
    means = images.mean((2, 3), keepdim=True)
    return (images - means) * kept + means


def elastic_transform(images: Tensor, draws: Draws, strength: float, sigma: float, move: float) -> Tensor:
    """A random affine map (whole-sample reflection), then smoothed random displacements (half-sample reflection).

    Both resample bilinearly (Simard et al. 2003). The map takes three corners of a centred square to places that are
    off by up to `move` pixels.
    """
    height, width = images.shape[-2:]
    strength, sigma, move = (scaled(images, length) for length in (strength, sigma, move))
    part, cx, cy = min(height, width) // 3, width // 2, height // 2
    corners = torch.tensor(
        [[cx + part, cy + part], [cx + part, cy - part], [cx - part, cy - part]], dtype=torch.float64
    )
    shifted = corners + draws.uniform(-move, move, 3, 2).cpu().double()
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], dim=-1).double()  # (H, W, 3)
    # rows (x, y, 1) of the moved corners times the solution are the corners: it takes what is drawn to what it shows
    back = torch.linalg.solve(F.pad(shifted, (0, 1), value=1.0), corners.expand(len(images), -1, -1))  # (B, 3, 2)
    turned = _sampled(images, (places.flatten(0, 1) @ back).unflatten(1, (height, width)), whole_sample=True)
    across, down = (
        strength * smoothed(draws.uniform(-1, 1, height, width).double(), sigma, truncate=3, edge="reflect")
        for _ in range(2)
    )
    moved = torch.stack([x.to(across.device) + across, y.to(down.device) + down], dim=-1)
    return _sampled(turned, moved, whole_sample=False)


def pixelate(images: Tensor, draws: Draws, share: float) -> Tensor:
    """Resized to int(share x side) and back with PIL's box filter, in 8 bits after every pass as PIL is."""
    height, width = images.shape[-2:]
    small = max(1, int(height * share)), max(1, int(width * share))
    down_y, down_x, up_y, up_x = (
        _box(before, after).to(images.device, images.dtype)
        for before, after in ((height, small[0]), (width, small[1]), (small[0], height), (small[1], width))
    )
    shrunk = rounded(down_y @ rounded(images @ down_x.T))
    return up_y @ shrunk @ up_x.T


def jpeg_compression(images: Tensor, draws: Draws | None, quality: int) -> Tensor:
    """Encoded and decoded by PIL's libjpeg on the CPU, with its defaults: 4:2:0 chroma, upsampled smoothly."""
    pixels = images.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    decoded = []
    for one in pixels:
        file = io.BytesIO()
        Image.fromarray(one).save(file, "JPEG", quality=quality)
        decoded.append(to_pixels(Image.open(file)))
    return torch.stack(decoded).to(images.device, images.dtype)


def _sampled(images: Tensor, places: Tensor, *, whole_sample: bool) -> Tensor:
    """Bilinear values at (B, H, W, 2) x and y in pixels, reflected at the outer pixels' centres or at their edges."""
    height, width = images.shape[-2:]
    sides = places.new_tensor([width, height])
    grid = 2 * places / (sides - 1) - 1 if whole_sample else (2 * places + 1) / sides - 1
    grid = grid.to(images.device, images.dtype)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=whole_sample)


@functools.lru_cache(maxsize=64)
def _box(before: int, after: int) -> Tensor:
    """(after, before) float64: means over the pixels whose centres lie in the box; copies where `after` is larger.

    PIL takes the pixels from int(c - s/2 + 1/2) to int(c + s/2 + 1/2), at most, whose centre is above c - s/2 and not
    above c + s/2, with c = (i + 1/2) before / after and s = max(1, before / after).
    """
    scale = before / after
    reach = max(1.0, scale) / 2
    middle = (torch.arange(after, dtype=torch.float64) + 0.5)[:, None] * scale
    centres = torch.arange(before, dtype=torch.float64) + 0.5
    inside = ((centres - middle > -reach) & (centres - middle <= reach)).double()
    return inside / inside.sum(1, keepdim=True)
