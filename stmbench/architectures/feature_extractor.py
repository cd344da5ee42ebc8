"""Networks without what their classification needs: images -> pooled features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from stmbench.architectures.backbone import Backbone
from stmbench.errors import ConfigError

HEAD = "head."  # what names of a backbone's head begin with


def as_feature_extractor(model: nn.Module) -> nn.Module:
    """The model, changed in place: (B, 3, H, W) -> (B, D) pooled features.

    Of this project's backbones the mean over positions of the last map, after its norm: the unified head's convolution
    is dropped with the classifier, as nothing but a classification trains it. Of timm's models what their classifier
    takes; of others what their last linear layer takes.

    Raises:
        ConfigError: a model whose classifier cannot be found.
    """
    known: Any = model
    if isinstance(model, Backbone):
        model.drop_head()
    elif callable(getattr(model, "reset_classifier", None)):
        known.reset_classifier(0)
    elif getattr(model, "num_classes", None) != 0:
        known.set_submodule(_classifier_of(model), nn.Identity())
        known.num_classes = 0
    return model


def feature_width(model: nn.Module) -> int | None:
    """D of a feature extractor, where the model says it."""
    for name in ("head_hidden_size", "num_features"):
        if isinstance(width := getattr(model, name, None), int):
            return width
    return None


def is_without_classifier(model: nn.Module, state: Mapping[str, Tensor]) -> bool:
    """Whether a file's tensors, under the model's own names, are those of its feature extractor."""
    config = getattr(model, "default_cfg", None)
    found = HEAD if isinstance(model, Backbone) else config.get("classifier") if isinstance(config, dict) else None
    if not found or not state or not state.keys() <= model.state_dict().keys():
        return False
    heads = (found,) if isinstance(found, str) else tuple(found)  # a second one, for distillation
    return not any(name.startswith(tuple(f"{head.rstrip('.')}." for head in heads)) for name in state)


def _classifier_of(model: nn.Module) -> str:
    """Dotted path of the last linear layer, where it gives as many outputs as the model has classes."""
    linear = [(path, module) for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    classes = getattr(model, "num_classes", None)
    path, last = linear[-1] if linear else ("", None)
    if last is None or not path or (classes is not None and last.out_features != classes):
        expected = "a model whose classifier is known"
        remedy = "give the module a reset_classifier(0), as timm's models have"
        raise ConfigError(expected, f"{type(model).__name__} without one", remedy)
    return path


def pooled(model: nn.Module, images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, D) features of a feature extractor. Raises ConfigError where the model gives no such."""
    return as_pooled(model(images))


def as_pooled(found: Any) -> Tensor:
    """What a feature extractor gave: (B, D). Raises ConfigError for anything else."""
    if isinstance(found, Tensor) and found.ndim == 2:
        return found
    shape = str(tuple(found.shape)) if isinstance(found, Tensor) else type(found).__name__
    raise ConfigError("pooled features (B, D)", shape, "give a model that pools its last map")
