"""DETR (Carion et al., ECCV 2020) and Deformable DETR (Zhu et al., ICLR 2021) on the trunk's last map, of stride 32.

The transformers are Hugging Face's. What differs from their models:

- The decoder's layers hand on their output as it is; the norm is for the heads alone, as in DETR's code. With
  `auxiliary_loss` the library feeds the normed output to the next layer.
- Weights begin as in the authors' code: Xavier in the transformer, queries from a normal distribution, scores of the
  focal loss at 0.01, Deformable DETR's boxes at their reference points. The library's begin from N(0, 0.02).

Deformable DETR has one level, no refinement of boxes and one stage: "w/o multi-scale" of Gao et al.'s Table 5.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from stmbench.architectures.base import REMEDY
from stmbench.architectures.detectors.base import PATCH
from stmbench.architectures.detectors.regions import full
from stmbench.architectures.detectors.set_prediction import SetConfig, SetTransformer, Sizes, register
from stmbench.errors import MissingPackageError, require

DROPOUT: Final = 0.1
PRIOR: Final = 0.01  # the first score of every class under the focal loss
GROUPS: Final = 32  # of Deformable DETR's first norm


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeformableConfig(SetConfig):
    """Deformable DETR's defaults."""

    queries: int = 300
    dim_feedforward: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.width % GROUPS == 0, f"width divisible by {GROUPS}", self.width, REMEDY)


def library(kind: str) -> Any:
    """Hugging Face's transformers, which is slow to import. Raises MissingPackageError where it is not installed."""
    try:
        import scipy.optimize  # noqa: F401  # solves the matching
        import transformers
    except ImportError as error:
        package = (error.name or "transformers").partition(".")[0]
        raise MissingPackageError(package, f"the detector {kind}", "detection", "use retinanet") from error
    return transformers


class Passing(nn.Module):
    """In the place of the library's backbone: the maps come in."""

    def forward(self, maps: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(B, C, H, W), (B, H, W) -> the one level."""
        return [(maps, mask)]


class Transformer(SetTransformer):
    """The library's encoder, decoder and heads.

    Attributes:
        name: of the kind of detector.
        classes: of the library's config and model.
        options: of its config, besides those that all have.
    """

    name: ClassVar[str]
    classes: ClassVar[tuple[str, str]] = ("DetrConfig", "DetrForObjectDetection")
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, channels: int, config: SetConfig) -> None:
        super().__init__()
        found, layers, heads = library(self.name), config.layers, config.attention_heads
        placeholder = found.ResNetConfig(
            embedding_size=1, hidden_sizes=[channels], depths=[1], layer_type="basic", out_features=["stage1"]
        )
        config_class, model_class = (getattr(found, name) for name in self.classes)
        own = config_class(
            backbone_config=placeholder,
            num_labels=config.num_classes,
            num_queries=config.queries,
            d_model=config.width,
            dropout=DROPOUT,
            **{f"{side}_layers": layers for side in ("encoder", "decoder")},
            **{f"{side}_attention_heads": heads for side in ("encoder", "decoder")},
            **{f"{side}_ffn_dim": config.dim_feedforward for side in ("encoder", "decoder")},
            **self.options,
        )
        self.host = model_class(own)
        self.host.model.backbone = Passing()
        self._initialise()

    def _initialise(self) -> None:
        model = self.host.model
        nn.init.normal_(model.query_position_embeddings.weight)
        for name, parameter in [*model.encoder.named_parameters(), *model.decoder.named_parameters()]:
            if parameter.ndim > 1 and not name.endswith(("sampling_offsets.weight", "attention_weights.weight")):
                joint = name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight"))  # one matrix in theirs
                nn.init.xavier_uniform_(parameter, gain=0.5**0.5 if joint else 1.0)

    def forward(self, maps: Tensor, sizes: Sizes | None = None) -> tuple[Tensor, Tensor]:
        """See `SetTransformer.forward`."""
        with self._states() as states:
            self.host.model(pixel_values=maps, pixel_mask=valid(maps, sizes))
        normed = self.host.model.decoder.layernorm(torch.stack(states))
        return full(self.host.class_labels_classifier(normed)), full(self.host.bbox_predictor(normed)).sigmoid()

    @contextlib.contextmanager
    def _states(self) -> Iterator[list[Tensor]]:
        """What the decoder's layers put out in a forward pass."""
        states: list[Tensor] = []
        handles = [
            layer.register_forward_hook(lambda _layer, _inputs, output: states.append(output))
            for layer in self.host.model.decoder.layers
        ]
        try:
            yield states
        finally:
            for handle in handles:
                handle.remove()


class Detr(Transformer):
    """DETR's transformer, with a class for no object."""

    name, focal = "detr", False

    def _initialise(self) -> None:
        super()._initialise()
        for layer in (self.host.model.input_projection, self.host.class_labels_classifier, *self._box_layers()):
            layer.reset_parameters()

    def _box_layers(self) -> list[nn.Linear]:
        return [layer for layer in self.host.bbox_predictor.modules() if isinstance(layer, nn.Linear)]


class Deformable(Transformer):
    """Deformable DETR's transformer on one level: each query looks at a few points around its own."""

    name, focal = "deformable-detr", True
    classes = ("DeformableDetrConfig", "DeformableDetrForObjectDetection")
    options: ClassVar[dict[str, Any]] = {
        "num_feature_levels": 1,
        "disable_custom_kernels": True,
        "tie_word_embeddings": False,  # the library cannot tie the heads of a single layer
    }

    def _initialise(self) -> None:
        super()._initialise()
        self.host.class_embed, self.host.bbox_embed = self.host.class_embed[0], self.host.bbox_embed[0]  # all share one
        projection = self.host.model.input_proj[0][0]
        nn.init.xavier_uniform_(projection.weight)
        nn.init.zeros_(projection.bias)
        layers = [layer for layer in self.host.bbox_embed.modules() if isinstance(layer, nn.Linear)]
        for layer in (self.host.class_embed, *layers):
            layer.reset_parameters()
        start_at_prior(self.host.class_embed)
        nn.init.zeros_(layers[-1].weight)
        with torch.no_grad():
            layers[-1].bias.copy_(torch.tensor([0.0, 0.0, -2.0, -2.0]))

    def forward(self, maps: Tensor, sizes: Sizes | None = None) -> tuple[Tensor, Tensor]:
        """See `SetTransformer.forward`."""
        with self._states() as states:
            output = self.host.model(pixel_values=maps, pixel_mask=valid(maps, sizes))
        stacked = torch.stack(states)
        points = full(output.init_reference_points).clamp(1e-5, 1 - 1e-5)
        boxes = moved(full(self.host.bbox_embed(stacked)), points.log() - (1 - points).log())
        return full(self.host.class_embed(stacked)), boxes


def start_at_prior(layer: nn.Linear) -> None:
    """Scores of the focal loss begin at PRIOR."""
    nn.init.constant_(layer.bias, -math.log((1 - PRIOR) / PRIOR))


def moved(codes: Tensor, points: Tensor) -> Tensor:
    """Boxes (..., 4) of codes relative to `points` (..., 2), both before the sigmoid."""
    return torch.cat([codes[..., :2] + points, codes[..., 2:]], -1).sigmoid()


def valid(maps: Tensor, sizes: Sizes | None) -> Tensor:
    """(B, H, W): which positions have a pixel that is not of the padding."""
    mask = maps.new_ones((len(maps), *maps.shape[-2:]), dtype=torch.bool)
    for one, (height, width) in zip(mask, sizes or (), strict=sizes is not None):
        one[math.ceil(height / PATCH) :] = False
        one[:, math.ceil(width / PATCH) :] = False
    return mask


register(Detr.name, "DETR", "Carion et al., End-to-End Object Detection with Transformers, ECCV 2020", Detr, SetConfig)
register(
    Deformable.name,
    "Deformable DETR, one level",
    "Zhu et al., Deformable DETR, ICLR 2021",
    Deformable,
    DeformableConfig,
)
