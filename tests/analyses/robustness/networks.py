"""Small networks whose answer to an attack is known."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalise(pixels: Tensor) -> Tensor:
    """ImageNet's mean and standard deviation."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1).to(pixels), torch.tensor(STD).view(3, 1, 1).to(pixels)
    return (pixels - mean) / std


class Convolutions(nn.Module):
    """A small network with batch norm, dropout and a head."""

    def __init__(self, classes: int = 10, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.GELU(), nn.Conv2d(16, 32, 3, 2, 1),
                nn.BatchNorm2d(32), nn.GELU(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                nn.Linear(128, classes),
            )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = 5 * self.layers(x)
        return logits


class Linear(nn.Module):
    """Logit 1 minus logit 0 is sum(weight * x) + bias: FGSM moves it by eps * sum |weight|, as far as can be."""

    def __init__(self, weight: Tensor, bias: float = 0.0) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), bias

    def forward(self, x: Tensor) -> Tensor:
        score = (x * self.weight).flatten(1).sum(1) + self.bias
        return torch.stack((torch.zeros_like(score), score), dim=1)


class Constant(nn.Module):
    """Says `logits` of every image; a gradient of 0 everywhere."""

    def __init__(self, logits: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("logits", torch.tensor(logits))

    def forward(self, x: Tensor) -> Tensor:
        logits = self.get_buffer("logits") + 0 * x.flatten(1).sum(1, keepdim=True)
        return logits


class ModeSensitive(nn.Module):
    """Answers by a rule of its own whenever gradients are off: what an unsound pipeline does at eps 0."""

    def forward(self, x: Tensor) -> Tensor:
        score = x.flatten(1).sum(1)
        other = torch.stack((score, -score), dim=1)
        return other if torch.is_grad_enabled() else -other
