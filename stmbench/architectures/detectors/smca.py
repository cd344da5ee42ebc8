"""SMCA (Gao et al., "Fast Convergence of DETR with Spatially Modulated Co-Attention", ICCV 2021) at a single scale.

DETR, whose queries look first around a place of their own. A query O predicts once a centre, as a share of the image,

    (c_w, c_h) = sigmoid(MLP(O)),

and in each layer of the decoder, for each head, an offset of it and a width and height (w, h), by one linear layer
each. They make a map over the positions (i, j) of the encoder's output,

    G(i, j) = exp(-(i - c_w)^2 / (beta w^2) - (j - c_h)^2 / (beta h^2)),

whose logarithm is added to the logits of the head's attention to them: softmax(K^T Q / sqrt(d) + log G) V. Boxes are
predicted relative to the centre, which is added before the sigmoid.

As in the authors' code, beta is 8, the linear layer predicts 1 / w and 1 / h, which begin at 1, centre and map are in
positions of the image without its padding, and what predicts is a norm of the layer's input plus the query's
embedding; in the first layer the input is zero. There are 300 queries and the focal loss. The authors have a
multi-scale encoder too, which is not here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torchvision.ops import MLP

from stmbench.architectures.detectors.base import PATCH
from stmbench.architectures.detectors.detr import Detr, moved, start_at_prior, valid
from stmbench.architectures.detectors.regions import full
from stmbench.architectures.detectors.set_prediction import SetConfig, Sizes, register

BETA: Final = 8.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class SmcaConfig(SetConfig):
    """SMCA's defaults."""

    queries: int = 300


class Modulation(nn.Module):
    """One layer's maps of its queries: (B, queries, width) -> log G (B, heads, queries, H * W)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(width)
        self.offset, self.sharpness = nn.Linear(width, 2 * heads), nn.Linear(width, 2 * heads)
        nn.init.xavier_uniform_(self.offset.weight)
        nn.init.zeros_(self.sharpness.weight)
        nn.init.ones_(self.sharpness.bias)

    def forward(self, queries: Tensor, centres: Tensor, shape: tuple[int, int]) -> Tensor:
        """`centres` (B, queries, 2) are x and y in positions of a map of `shape`."""
        normed = self.norm(queries)
        split = (*normed.shape[:2], self.heads, 2)
        points = full(self.offset(normed)).view(split) + centres[:, :, None]
        sharpness = full(self.sharpness(normed)).view(split)
        places = [torch.arange(side, dtype=points.dtype, device=points.device) for side in (shape[1], shape[0])]
        x, y = (((points[..., axis, None] - places[axis]) * sharpness[..., axis, None]).square() for axis in (0, 1))
        summed = (y[..., :, None] + x[..., None, :]).flatten(-2)
        return summed.transpose(1, 2) / -BETA


class Smca(Detr):
    """DETR's transformer with a modulation of each layer of its decoder."""

    name, focal = "smca", True

    def __init__(self, channels: int, config: SetConfig) -> None:
        super().__init__(channels, config)
        width = config.width
        self.modulations = nn.ModuleList(Modulation(width, config.attention_heads) for _ in range(config.layers))
        self.centre = MLP(width, [width, width, 2], inplace=None)
        for layer in self.centre.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
        self.host.class_labels_classifier = nn.Linear(width, config.num_classes)  # none for no object
        start_at_prior(self.host.class_labels_classifier)

    def forward(self, maps: Tensor, sizes: Sizes | None = None) -> tuple[Tensor, Tensor]:
        """See `SetTransformer.forward`."""
        model: Any = self.host.model
        shape = (maps.shape[-2], maps.shape[-1])
        embedding = model.query_position_embeddings.weight
        first: Any = self.modulations[0]
        centre = full(self.centre(first.norm(embedding)))
        whole = [(PATCH * shape[0], PATCH * shape[1])] * len(maps)
        extents = centre.new_tensor([[width / PATCH, height / PATCH] for height, width in sizes or whole])
        centres = centre.sigmoid() * extents[:, None]
        handles = [
            layer.register_forward_pre_hook(_hook(modulation, embedding, centres, shape), with_kwargs=True)
            for layer, modulation in zip(model.decoder.layers, self.modulations, strict=True)
        ]
        try:
            with self._states() as states:
                model(pixel_values=maps, pixel_mask=valid(maps, sizes))
        finally:
            for handle in handles:
                handle.remove()
        normed = model.decoder.layernorm(torch.stack(states))
        boxes = moved(full(self.host.bbox_predictor(normed)), centre)
        return full(self.host.class_labels_classifier(normed)), boxes


def _hook(modulation: nn.Module, embedding: Tensor, centres: Tensor, shape: tuple[int, int]) -> Callable[..., Any]:
    """Adds log G to the mask of a decoder layer's attention to the encoder's output, a layer's last argument."""

    def hook(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        state = inputs[0]
        log = modulation(state + embedding, centres, shape).to(state.dtype)
        return inputs, {**named, "encoder_attention_mask": _masked(log, named.get("encoder_attention_mask"))}

    return hook


def _masked(log: Tensor, mask: Tensor | None) -> Tensor:
    """log G where a mask, of booleans or to be added, leaves a position."""
    if mask is None:
        return log
    return log.masked_fill(~mask, torch.finfo(log.dtype).min) if mask.dtype == torch.bool else log + mask


register(Smca.name, "SMCA, single scale", "Gao et al., Fast Convergence of DETR with SMCA, ICCV 2021", Smca, SmcaConfig)
