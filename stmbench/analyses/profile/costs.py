"""What a model costs: parameters, multiply-adds, activations, elements moved, in all and by part; time by part; memory.

Peak memory is measured where nothing else is counted with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stmbench.analyses.models import build_model, counting_device, facts_of, require_resolution
from stmbench.analyses.profile.samples import Key
from stmbench.analyses.profile.timed_models import TimedModel, TimedModelSpec, first_mixer, map_shape, mixers_of
from stmbench.analyses.profile.timing_harness import TimingHarness
from stmbench.architectures.detectors.pieces import pieces
from stmbench.architectures.detectors.pyramid import Described
from stmbench.architectures.given_models import is_given, save_given
from stmbench.measure.clock import Timer
from stmbench.measure.counting import Tally, count
from stmbench.measure.memory import MemoryReading, MemorySpec, peak_of_child, peak_of_cuda, peak_of_this_process
from stmbench.mixers.ops import Stamp

LEFT_OUT = 0.05  # of all multiplications: an elementwise share that is said


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """One figure: its metric, the value for one image, and the part or stage it belongs to (None: the whole)."""

    metric: str
    value: float
    part: str | None = None
    stage: int | None = None


def model_costs(name: str, resolution: tuple[int, int], *, seed: int) -> list[Cost]:
    """Costs of one image through the whole model, and of each of its parts.

    `macs_published_convention` is there only for mixers whose source published a cost table.

    Raises:
        CountError: an operation that the counter has no rule for.
    """
    model = build_model(name, seed=seed, device=counting_device(name))
    require_resolution(model, name, resolution)
    if isinstance(model, Described):
        parts = detector_costs(model, *resolution)
        total = sum(parts.values(), Tally())
    else:
        counted = count(model, (3, *resolution), parts=parts_of(model))
        parts, total = dict(counted.parts), counted.total
    costs = [
        Cost(metric="params", value=total.params),
        Cost(metric="macs", value=total.macs),
        Cost(metric="activations", value=total.activations),
        Cost(metric="elements_moved", value=total.elements_moved),
        Cost(metric="elementwise", value=total.elementwise),
    ]
    entry = facts_of(name).entry
    if entry is not None and entry.published_convention is not None and not isinstance(model, Described):
        costs.append(Cost(metric="macs_published_convention", value=total.under(entry.published_convention)))
    for part, tally in parts.items():
        costs.append(Cost(metric="part_macs", value=tally.macs, part=part))
        costs.append(Cost(metric="part_params", value=tally.params, part=part))
    return costs


def detector_costs(detector: nn.Module, height: int, width: int) -> dict[str, Tally]:
    """Costs of a detector for an image of this size after resizing, by part (see `detectors.pieces`).

    In eval mode, with as many proposals and detections as there are at most: MMDetection's convention, which publishes
    figures at 800 x 1280.

    Raises:
        CountError: an operation that the counter has no rule for.
    """
    costs: dict[str, Tally] = {}
    for piece in pieces(detector, height, width):
        for part, tally in count(piece.module, piece.shape, parts=piece.parts).parts.items():
            costs[part] = costs.get(part, Tally()) + _repeated(tally, piece.times)
    for name, parameter in detector.named_parameters():
        part = part_of(name, parts_of(detector)) or OTHER
        costs[part] = costs.get(part, Tally()) + Tally(params=parameter.numel())
    return costs


def _repeated(tally: Tally, times: int) -> Tally:
    """Of several inputs at once, which read the weights once; without the parameters, which have no number of times."""
    return Tally(
        kinds={kind: times * macs for kind, macs in tally.kinds.items()},
        activations=times * tally.activations,
        elements_moved=times * tally.elements_moved - (times - 1) * tally.params,
        elementwise=times * tally.elementwise,
    )


def left_out(model: str, costs: list[Cost]) -> dict[str, Any]:
    """What a model's multiply-adds do not hold, as notes of its unit; none where it is little.

    Elementwise operations are free; where they are more than LEFT_OUT of all multiplications, nobody should compare the
    figure with others' in silence.
    """
    whole = {cost.metric: cost.value for cost in costs if cost.part is None and cost.stage is None}
    elementwise, macs = whole.get("elementwise", 0), whole.get("macs", 0)
    share = elementwise / (elementwise + macs) if elementwise else 0.0
    if share <= LEFT_OUT:
        return {}
    text = f"{model}: macs leave out {elementwise:.3g} elementwise multiplications, {100 * share:.0f} % of all of them"
    disturbance = {"kind": "left out of macs", "amount": share, "text": text}
    return {"warnings": [text], "disturbances": [disturbance]}


def operator_costs(name: str, resolution: tuple[int, int], *, seed: int) -> list[Cost]:
    """Costs of the mixer at each stage's first site, on that stage's map of one image."""
    model = build_model(name, seed=seed, device=counting_device(name))
    require_resolution(model, name, resolution)
    costs: list[Cost] = []
    for stage in stages_of(model):
        mixer = first_mixer(model, stage)
        counted = count(mixer, map_shape(model, mixer, resolution))
        costs += [
            Cost(metric="params", value=counted.params, stage=stage),
            Cost(metric="macs", value=counted.macs, stage=stage),
            Cost(metric="activations", value=counted.activations, stage=stage),
            Cost(metric="elements_moved", value=counted.total.elements_moved, stage=stage),
        ]
    return costs


def parts_of(model: nn.Module) -> Mapping[str, str]:
    """`model.parts`; empty for models that do not name their parts (timm's)."""
    parts: Mapping[str, str] = getattr(model, "parts", {})
    return parts


def stages_of(model: nn.Module) -> list[int]:
    """The stages that have a mixer, in order. Raises UnitError for a model that does not name its mixers."""
    return sorted({site.stage for site, _, _ in mixers_of(model)})


OTHER = "other"


def part_of(path: str, parts: Mapping[str, str]) -> str | None:
    """The part whose pattern matches a dotted module path in full; None where none does."""
    return next((name for name, pattern in parts.items() if re.fullmatch(pattern, path)), None)


def borders(model: nn.Module, parts: Mapping[str, str]) -> dict[str, str]:
    """Module path -> part, for the modules at which execution enters a part: those whose parent is of another one."""
    entries: dict[str, str] = {}
    inherited: dict[str, str | None] = {"": None}
    for path, module in model.named_modules():
        if not path:
            continue
        outer = inherited[path.rpartition(".")[0]]
        own = part_of(path, parts)
        inherited[path] = own or outer
        # containers that are never called (a list, a dict) have no forward pass to hook
        if own is not None and own != outer:
            if isinstance(module, nn.ModuleList | nn.ModuleDict):
                inherited[path] = outer
            else:
                entries[path] = own
    return entries


class PartClock:
    """Stamps on a model's part borders; `measure(run)` gives seconds by part for one call of `run`.

    Compiled kernels run as without the stamps. One that does the work of several modules counts to one part: an MLP's,
    with its norm and its residual, to the MLP's.
    """

    def __init__(self, model: nn.Module, parts: Mapping[str, str], timer: Timer) -> None:
        self._timer = timer
        self._stack: list[str] = [OTHER]
        self._marks: list[tuple[str, Any]] = []  # (part that ends here, stamp)
        modules = dict(model.named_modules())
        self._handles = []
        for path, part in borders(model, parts).items():
            enter = Stamp(functools.partial(self._enter, part))
            self._handles.append(modules[path].register_forward_pre_hook(enter))
            self._handles.append(modules[path].register_forward_hook(Stamp(self._leave)))

    def measure(self, run: Callable[[], object]) -> dict[str, float]:
        """Seconds by part, 'other' included; they add up to the seconds of `run`."""
        self._timer.synchronize()
        self._stack, self._marks = [OTHER], []
        start = self._timer.stamp()
        run()
        self._marks.append((OTHER, self._timer.stamp()))
        seconds: dict[str, float] = {}
        for part, stamp in self._marks:
            seconds[part] = seconds.get(part, 0.0) + self._timer.between(start, stamp)
            start = stamp
        return seconds

    def remove(self) -> None:
        """Take the stamps away."""
        for handle in self._handles:
            handle.remove()

    def _enter(self, part: str) -> None:
        self._marks.append((self._stack[-1], self._timer.stamp()))
        self._stack.append(part)

    def _leave(self) -> None:
        self._marks.append((self._stack.pop(), self._timer.stamp()))


PREPARE = "stmbench.analyses.profile.timed_models:prepare"


def peak_of(bench: TimingHarness, key: Key, batch: int, *, threads: int) -> MemoryReading:
    """Of the eager model, on noise: a compiler's or picture reader's memory is not the model's.

    A module given as an object travels to the child process in a file. One that cannot (its class lives in a notebook,
    say) is measured in this process, as the reading's method says.
    """
    spec = dataclasses.replace(bench.spec(key), compile=False, images="noise")
    if bench.config.device.startswith("cuda"):
        return _of_cuda(bench, spec, batch)
    arguments = {"spec": dataclasses.asdict(spec), "batch": batch, "plugins": list(bench.config.plugins)}
    if not is_given(spec.model):
        return peak_of_child(MemorySpec(target=PREPARE, arguments=arguments, threads=threads))
    with tempfile.TemporaryDirectory(prefix="stmbench-") as folder:
        file = Path(folder) / "module.pt"
        if save_given(spec.model, file):
            arguments |= {"given": str(file), "path": sys.path}
            return peak_of_child(MemorySpec(target=PREPARE, arguments=arguments, threads=threads))
    return peak_of_this_process(lambda: TimedModel(spec).run(batch))


def _of_cuda(bench: TimingHarness, spec: TimedModelSpec, batch: int) -> MemoryReading:
    """Beside the models that wait to be sampled, or, where it does not fit there, without them."""
    with contextlib.suppress(torch.cuda.OutOfMemoryError):
        return peak_of_cuda(lambda: TimedModel(spec).run(batch), spec.device)
    bench.close()
    return peak_of_cuda(lambda: TimedModel(spec).run(batch), spec.device)
