"""The feature maps of a model and their log amplitudes in the Fourier domain.

One forward pass shows the map after each block, and what goes into and comes out of each mixer. Amplitudes are those of
Park and Kim 2022, section 2 and Fig. 2.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stmbench.analyses.erf.stages import stages_of
from stmbench.errors import UnitError

Place = Literal["block", "mixer input", "mixer output"]
Receive = Callable[["Probe", Tensor], None]
PLACES: Final[tuple[Place, ...]] = ("block", "mixer input", "mixer output")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe:
    """One feature map to look at: that after a block, or the input or output of its mixer.

    `stage` and `block` count from 0; `module` is the dotted path that is hooked. `channels` is the number of channels
    where the map's layout has to be found out (timm's models), None for this project's (B, H, W, C).
    """

    stage: int
    block: int
    place: Place
    module: str
    channels: int | None = None

    @property
    def name(self) -> str:
        """Unique within a model: 'block_0_1', 'mixer_input_0_1'."""
        return f"{self.place.replace(' ', '_')}_{self.stage}_{self.block}"


def probes_of(model: nn.Module) -> list[Probe]:
    """Every map that can be looked at, in the order of the network.

    Of this project's architectures the maps after each block and around each mixer; of timm's models those after each
    block of each stage in `feature_info`, as their mixers are not known.

    Raises:
        UnitError: a timm model that does not name its feature maps.
    """
    if not hasattr(model, "mixers"):
        return _of_timm(model)
    known: Any = model
    around = {(site.stage, site.block): path for site, path, _ in known.mixers()}
    probes = []
    for stage, module in enumerate(known.stages):
        for block in range(len(module.blocks)):
            path = around.get((stage, block))
            if path is not None:
                probes.append(Probe(stage=stage, block=block, place="mixer input", module=path))
                probes.append(Probe(stage=stage, block=block, place="mixer output", module=path))
            probes.append(Probe(stage=stage, block=block, place="block", module=f"stages.{stage}.blocks.{block}"))
    return probes


def _of_timm(model: nn.Module) -> list[Probe]:
    """The blocks of a stage are the children of its `blocks`, or its own where it is a sequence; else it is one."""
    info: Any = model.feature_info
    entries = list(getattr(info, "info", info) or []) if info is not None else []
    probes = []
    for stage in stages_of(model):
        module, channels = model.get_submodule(stage.module), int(entries[stage.index]["num_chs"])
        inner = getattr(module, "blocks", module)
        path = stage.module if inner is module else f"{stage.module}.blocks"
        names = [name for name, _ in inner.named_children()] if isinstance(inner, nn.Sequential | nn.ModuleList) else []
        paths = [f"{path}.{name}" for name in names] or [stage.module]
        for block, one in enumerate(paths):
            probes.append(Probe(stage=stage.number, block=block, place="block", module=one, channels=channels))
    return probes


def look_at(model: nn.Module, probes: Sequence[Probe], images: Tensor, receive: Receive) -> None:
    """Run the model on a batch, and hand over each map as soon as it exists; none is kept.

    Args:
        images: the model's input.
        receive: gets the probe and its map as (B, C, H, W) float32, without a graph.

    Raises:
        UnitError: an output that is no feature map.
    """

    def before(probe: Probe) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: receive(probe, as_map(inputs[0], probe, model))

    def after(probe: Probe) -> Callable[[nn.Module, Any, Any], None]:
        return lambda _, __, output: receive(probe, as_map(output, probe, model))

    handles = []
    try:
        for probe in probes:
            module = model.get_submodule(probe.module)
            if probe.place == "mixer input":
                handles.append(module.register_forward_pre_hook(before(probe)))
            else:
                handles.append(module.register_forward_hook(after(probe)))
        with torch.inference_mode():
            model(images)
    finally:
        for handle in handles:
            handle.remove()


def as_map(found: Any, probe: Probe, model: nn.Module) -> Tensor:
    """(B, C, H, W) float32 of what a module gave: (B, H, W, C), (B, C, H, W), or tokens (B, N, C) of a square map."""
    if isinstance(found, Tensor) and found.ndim == 3 and probe.channels is not None:
        found = _unrolled(found, model)
    if not isinstance(found, Tensor) or found.ndim != 4:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise UnitError(f"expected a feature map with two spatial axes after {probe.module}, got {shape}")
    channels_last = probe.channels is None or (found.shape[1] != probe.channels and found.shape[3] == probe.channels)
    return (found.permute(0, 3, 1, 2) if channels_last else found).float()


def _unrolled(tokens: Tensor, model: nn.Module) -> Tensor:
    """(B, prefix + H W, C) -> (B, C, H, W), without the class and register tokens."""
    tokens = tokens[:, int(getattr(model, "num_prefix_tokens", 0)) :]
    side = math.isqrt(tokens.shape[1])
    if side * side != tokens.shape[1]:
        raise UnitError(f"expected the tokens of a square map, got {tokens.shape[1]}; use a square resolution")
    return tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)


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
