"""Networks without what their classification needs: images -> pooled features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from stmbench.architectures.backbone import Backbone
from stmbench.errors import ConfigError

HEAD: Final = "head."  # what names of a backbone's head begin with
SIDE: Final = 224  # of an image, where a model does not say its own


def as_feature_extractor(model: nn.Module) -> nn.Module:
    """The model, changed in place: (B, 3, H, W) -> (B, D) pooled features.

    Of this project's backbones the mean over positions of the last map, after its norm: the unified head's convolution
    is dropped with the classifier, as nothing but a classification trains it. Of timm's models what their classifier
    takes; of others what the linear layer takes whose output is the model's.

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


@torch.no_grad()
def _classifier_of(model: nn.Module) -> str:
    """Dotted path of the linear layer whose output is the model's, found by a pass of one image."""
    linear = {path: module for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    given = dict[str, Tensor]()
    handles = [
        module.register_forward_hook(lambda _, __, output, path=path: given.update({path: output.clone()}))
        for path, module in linear.items()
    ]
    mode, what = model.training, f"{type(model).__name__} without one"
    try:
        output = model.eval()(_image_for(model))
    except Exception as error:  # a module of the caller may raise anything
        output, what = None, f"{type(model).__name__}, which refuses an image: {error}"
    finally:
        model.train(mode)
        for handle in handles:
            handle.remove()
    found = [path for path, logits in given.items() if _is_same(logits, output)]
    if not found:
        expected = "a model whose logits are a linear layer's output"
        remedy = (
            "give the module a reset_classifier(0), as timm's models have, or num_classes = 0 where it gives features"
        )
        raise ConfigError(expected, what, remedy)
    return found[-1]


def _image_for(model: nn.Module) -> Tensor:
    """(1, 3, H, W) noise of the size that the model says, else of 224 pixels."""
    config: Any = getattr(model, "default_cfg", None) or {}
    size = config["input_size"][1:] if isinstance(config, dict) and "input_size" in config else (SIDE, SIDE)
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    like = next((tensor for tensor in model.parameters() if tensor.is_floating_point()), image)
    return image.to(like)


def _is_same(logits: Tensor, output: Any) -> bool:
    """Whether nothing comes between a linear layer and the model's end."""
    is_output = isinstance(output, Tensor) and output.shape == logits.shape and output.ndim == 2
    return is_output and torch.allclose(logits, output, rtol=0, atol=0, equal_nan=True)


def pooled(model: nn.Module, images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, D) features of a feature extractor. Raises ConfigError where the model gives no such."""
    return as_pooled(model(images))


def as_pooled(found: Any) -> Tensor:
    """What a feature extractor gave: (B, D). Raises ConfigError for anything else."""
    if isinstance(found, Tensor) and found.ndim == 2:
        return found
    shape = str(tuple(found.shape)) if isinstance(found, Tensor) else type(found).__name__
    raise ConfigError("pooled features (B, D)", shape, "give a model that pools its last map")
