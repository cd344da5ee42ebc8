"""Linear classifiers of frozen features, whose one setting is chosen on held-out training images.

Features are standardised by the mean and standard deviation of the images that a classifier is fitted to. Candidates
are fitted to 90 % of the training images and judged on the rest; the best one's setting is fitted to all of them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stmbench.errors import ConfigError

RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)  # of SGD, at a batch of 256
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)  # of the logistic regression: 1 / weight of the penalty
BATCH, MOMENTUM = 256, 0.9
HELD_OUT_SHARE = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearProbe:
    """A fitted classifier.

    Attributes:
        weights: (D + 1, C), the last row is the bias.
        mean, deviation: (D,) of the training features.
        chosen: the learning rate or strength.
        held_out: candidate -> accuracy on the held-out images; `held_out_count` is their number.
    """

    weights: Tensor
    mean: Tensor
    deviation: Tensor
    chosen: float
    held_out: Mapping[float, float]
    held_out_count: int

    def predict(self, features: Tensor) -> Tensor:
        """(N, D) -> (N,) classes, on the CPU."""
        rows = _with_bias((features.to(self.weights) - self.mean) / self.deviation)
        return (rows @ self.weights).argmax(1).cpu()


def fit_linear(
    features: Tensor,
    labels: Tensor,
    *,
    num_classes: int,
    solver: str = "sgd",
    epochs: int = 100,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> LinearProbe:
    """Fit a linear classifier to (N, D) features and (N,) labels; the same seed gives the same one.

    Args:
        solver: 'sgd', the best of `RATES`, or 'logistic', the best of `STRENGTHS`.
        epochs: of SGD.

    Raises:
        ConfigError: fewer than two classes, or no class with two images, one of which could be held out.
    """
    if num_classes < 2:
        raise ConfigError("training images of at least two classes", str(num_classes), "use another --dataset")
    kept, out = hold_out(labels, seed)
    if not len(out):
        expected, got = "a class with two training images, for the linear probe", "one of each"
        raise ConfigError(expected, got, "raise --bank-images, or use --methods knn")
    features, labels = features.to(device), labels.to(device)
    candidates = RATES if solver == "sgd" else STRENGTHS

    def fitted(images: Tensor, settings: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
        """(settings, D + 1, C) weights, and the (D,) mean and deviation."""
        chosen = features[images.to(device)].to(torch.float32 if solver == "sgd" else torch.float64)
        mean, deviation = chosen.mean(0), chosen.std(0, correction=0)
        deviation = torch.where(deviation > 1e-6 * mean.abs() + 1e-12, deviation, 1)  # a constant stays 0
        rows, of = _with_bias((chosen - mean) / deviation), labels[images.to(device)]
        if solver == "sgd":
            return sgd(rows, of, num_classes, settings, epochs=epochs, seed=seed), mean, deviation
        return logistic(rows, of, num_classes, settings), mean, deviation

    weights, mean, deviation = fitted(kept, candidates)
    held = _with_bias((features[out.to(device)].to(mean) - mean) / deviation)
    logits, wanted = held @ weights, labels[out.to(device)]  # (candidates, n, C)
    right = [float((one.argmax(1) == wanted).double().mean()) if bool(one.isfinite().all()) else 0.0 for one in logits]
    loss = [float(functional.cross_entropy(one.double(), wanted)) for one in logits]
    order = [(-score, math.inf if math.isnan(worse) else worse) for score, worse in zip(right, loss, strict=True)]
    best = candidates[order.index(min(order))]
    weights, mean, deviation = fitted(torch.arange(len(labels)), (best,))
    held_out = dict(zip(candidates, right, strict=True))
    return LinearProbe(
        weights=weights[0], mean=mean, deviation=deviation, chosen=best, held_out=held_out, held_out_count=len(out)
    )


def hold_out(labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Places of the images to fit to and of those held out: a tenth of each class, at least one where it has two."""
    random, out = np.random.default_rng(seed), []
    values = labels.cpu().numpy()
    for label in np.unique(values):
        places = random.permutation(np.flatnonzero(values == label))
        if len(places) > 1:
            out.append(places[: max(1, round(HELD_OUT_SHARE * len(places)))])
    chosen = np.sort(np.concatenate(out)) if out else np.empty(0, dtype=np.int64)
    kept = np.setdiff1d(np.arange(len(values)), chosen)
    return torch.from_numpy(kept), torch.from_numpy(chosen)


def sgd(rows: Tensor, labels: Tensor, num_classes: int, rates: Sequence[float], *, epochs: int, seed: int) -> Tensor:
    """(rates, D, C) weights of softmax regressions of (N, D) rows, all rates at once, from zero.

    Momentum 0.9, no weight decay, rate x batch / 256 falling as a cosine to 0; batches of 256, drawn by `seed`.
    """
    count, width = rows.shape
    batch, many = min(BATCH, count), len(rates)
    start_rates = torch.tensor(rates, device=rows.device, dtype=rows.dtype)[:, None] * batch / BATCH
    start_rates = start_rates.expand(many, num_classes).reshape(-1)  # (rates * C,)
    weights = torch.zeros(width, many * num_classes, device=rows.device, dtype=rows.dtype)
    speed, random = torch.zeros_like(weights), torch.Generator().manual_seed(seed)
    steps, step = epochs * math.ceil(count / batch), 0
    with torch.inference_mode():
        for _ in range(epochs):
            order = torch.randperm(count, generator=random).to(rows.device)
            for chosen in torch.split(order, batch):
                part = rows[chosen]  # (b, D)
                logits = (part @ weights).view(len(part), many, num_classes)
                error = logits.softmax(-1) - functional.one_hot(labels[chosen], num_classes)[:, None]
                gradient = part.T @ (error.view(len(part), -1) / len(part))  # (D, rates * C)
                speed.mul_(MOMENTUM).add_(gradient)
                weights -= 0.5 * (1 + math.cos(math.pi * step / steps)) * start_rates * speed
                step += 1
    return weights.view(width, many, num_classes).permute(1, 0, 2).clone()


def logistic(rows: Tensor, labels: Tensor, num_classes: int, strengths: Sequence[float]) -> Tensor:
    """(strengths, D, C) weights that minimise the sum of cross-entropies + |W|^2 / (2 strength), without the last row.

    L-BFGS in float64, each strength from the solution of the one before.
    """
    rows, found = rows.double(), []
    start = torch.zeros(rows.shape[1], num_classes, dtype=torch.float64, device=rows.device)
    for strength in strengths:
        weights = start.clone().requires_grad_()
        optimiser = torch.optim.LBFGS(
            [weights], max_iter=1000, tolerance_grad=1e-8, tolerance_change=1e-12, line_search_fn="strong_wolfe"
        )

        def loss(
            weights: Tensor = weights, strength: float = strength, optimiser: torch.optim.LBFGS = optimiser
        ) -> Tensor:
            optimiser.zero_grad()
            penalty = weights[:-1].square().sum() / (2 * strength * len(rows))
            value = functional.cross_entropy(rows @ weights, labels) + penalty
            value.backward()  # type: ignore[no-untyped-call]
            return value

        with torch.enable_grad():
            optimiser.step(loss)  # type: ignore[no-untyped-call]
        start = weights.detach()
        found.append(start)
    return torch.stack(found)


def _with_bias(rows: Tensor) -> Tensor:
    return torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)
