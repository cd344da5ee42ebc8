"""Small networks as a user would bring them, and stand-ins for Hugging Face's."""

from __future__ import annotations

import dataclasses
import types
from typing import Any

import torch
from torch import Tensor, nn


class Plain(nn.Module):
    """Two convolutions and a classifier; `stride` is a setting that no weight shows."""

    def __init__(self, *, stride: int = 2, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=4, padding=1)
        self.body = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, classes)
        self.stride = stride

    def forward(self, x: Tensor) -> Any:
        """(B, 3, H, W) -> (B, classes)."""
        x = self.norm(self.body(self.stem(x)[:, :, :: self.stride, :: self.stride]))
        return self.fc(x.relu().mean((2, 3)))


@dataclasses.dataclass
class Output:
    """Like Hugging Face's ModelOutput: the logits are not the first of its fields."""

    last_hidden_state: Tensor
    logits: Tensor


class InDict(Plain):
    """Logits in a dict."""

    def forward(self, x: Tensor) -> Any:
        return {"features": x, "logits": super().forward(x)}


class InTuple(Plain):
    """Logits in a tuple."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x), [x]


class InOutput(Plain):
    """Logits in an output object."""

    def forward(self, x: Tensor) -> Any:
        return Output(last_hidden_state=x, logits=super().forward(x))


class Attention(nn.Module):
    """Softmax attention over all tokens, class token included; returns a tuple, as Hugging Face's does."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim)

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, None]:
        """(B, N, C) -> (B, N, C)."""
        q, k, v = self.qkv(hidden_states).chunk(3, dim=-1)
        return nn.functional.scaled_dot_product_attention(q, k, v), None


class Layer(nn.Module):
    """Attention with a residual; its argument is given by name."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attention = Attention(dim)

    def forward(self, hidden_states: Tensor) -> tuple[Tensor]:
        """(B, N, C) -> (B, N, C)."""
        return (hidden_states + self.attention(hidden_states=hidden_states)[0],)


class TokenNetwork(nn.Module):
    """Patches, a class token in front, layers that return tuples, an output object: a ViT as Hugging Face builds it."""

    def __init__(self, *, side: int = 32, patch: int = 8, dim: int = 6, depth: int = 2, classes: int = 10) -> None:
        super().__init__()
        self.config = types.SimpleNamespace(image_size=side, patch_size=patch, num_labels=classes)
        self.patches = nn.Conv2d(3, dim, patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.layers = nn.ModuleList(Layer(dim) for _ in range(depth))
        self.head = nn.Linear(dim, classes)

    def forward(self, pixel_values: Tensor) -> Output:
        """(B, 3, H, W) -> logits (B, classes)."""
        x = self.patches(pixel_values).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1)
        for layer in self.layers:
            x = layer(x)[0]
        return Output(last_hidden_state=x, logits=self.head(x[:, 0]))
