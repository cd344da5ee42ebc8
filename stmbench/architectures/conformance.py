"""The checks of a plug-in's timm model: it can be built, is repeatable, and classifies images of its own size."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stmbench.architectures.catalog import create_model
from stmbench.mixers.conformance import Outcome

BUILDS = "timm.create_model(NAME) builds it without weights from the network"
CLASSIFIES = "images (B, C, H, W) of its own size give finite logits (B, classes)"
REPEATS = "the same images give the same logits in eval mode, whatever else is in the batch"


def check_model(name: str) -> list[Outcome]:
    """Outcomes of three checks on `timm:NAME`; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            model = create_model(name).eval()
        except Exception as error:  # code of others: whatever it raises is the finding
            found, remedy = _words(error), "accept pretrained=False and timm's keyword arguments in the function"
            return [Outcome(check="builds", status="failed", promise=BUILDS, found=found, remedy=remedy)]
        outcomes = [Outcome(check="builds", status="passed", promise=BUILDS)]
        images = torch.randn(2, *getattr(model, "default_cfg", {}).get("input_size", (3, 224, 224)))
        found, logits = _classify(model, images)
        remedy = "return logits (B, num_classes); name another size in default_cfg = {'input_size': (3, H, W)}"
        if found:
            return [*outcomes, _outcome("classifies", CLASSIFIES, found, remedy)]
        again = _classify(model, images[:1])[1]
        is_close = torch.allclose(logits[:1], again, rtol=1e-3, atol=1e-3 * float(logits.abs().max()))
        found = "" if is_close else f"logits differ by up to {float((logits[:1] - again).abs().max()):.3g}"
        remedy = "switch randomness off in eval mode; take no statistics over the batch"
        return [*outcomes, _outcome("classifies", CLASSIFIES), _outcome("repeats", REPEATS, found, remedy)]


def _classify(model: nn.Module, images: Tensor) -> tuple[str, Tensor]:
    """(what is wrong, if anything; the logits)."""
    try:
        with torch.inference_mode():
            logits = model(images)
    except Exception as error:
        return _words(error), images
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
        return f"{tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__}", images
    return "" if bool(torch.isfinite(logits).all()) else "NaN or inf", logits


def _outcome(check: str, promise: str, found: str = "", remedy: str = "") -> Outcome:
    if found:
        return Outcome(check=check, status="failed", promise=promise, found=found, remedy=remedy)
    return Outcome(check=check, status="passed", promise=promise)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
