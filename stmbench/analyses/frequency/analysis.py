"""`frequency`: for each model a unit of work for the spectra of its maps, its heat map, and bands of noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from stmbench.analyses.base import Listener, Outcome
from stmbench.analyses.feature_maps import Probe, look_at, probes_of
from stmbench.analyses.frequency.noise import (
    FrequencyGrid,
    Responses,
    band_edges,
    basis_noise,
    mean_over_grid,
    random_signs,
    respond,
    ring_noise,
    white_noise,
)
from stmbench.analyses.frequency.options import (
    ACCURACY,
    ALL_MIXERS,
    AMPLITUDE,
    BAND,
    CHANGE,
    CHANGED,
    CLEAN,
    CONSISTENCY,
    ERROR,
    MIXER,
    MIXER_INPUT,
    MIXER_OUTPUT,
    NAME,
    PARTS,
    SPECTRA_DEFINITION,
    FrequencyOptions,
)
from stmbench.analyses.frequency.spectra import Floats, Spectrum
from stmbench.analyses.images import ImageAnalysis, ImageRequest, Work
from stmbench.analyses.loaded_model import LoadedModel
from stmbench.analyses.unit import Unit
from stmbench.data.loading import Batch
from stmbench.errors import UnitError
from stmbench.measure.bootstrap import mean_intervals
from stmbench.measure.proportions import mean_proportion, proportion
from stmbench.tables import Row, Store
from stmbench.tables.files import write_arrays

FILES: Final = {part: f"{part}.npz" for part in PARTS}
MakeNoise = Callable[[Batch, int], Iterable[Tensor]]  # of a batch, so many perturbations at once


class FrequencyAnalysis(ImageAnalysis):
    """Which frequencies the models of a request keep, and which they are sensitive to."""

    name = NAME

    def __init__(
        self, options: FrequencyOptions, request: ImageRequest, store: Store, *, listener: Listener | None = None
    ) -> None:
        super().__init__(request, store, listener=listener)
        self.options = options
        self.labelled = self.images.labels() is not None

    @property
    def definition(self) -> str:
        return self.options.noise_definition

    def headline(self, unit: Unit) -> str | None:
        answers = ACCURACY if self.labelled else CONSISTENCY
        error = ERROR if self.labelled else CHANGED
        return {"spectra": AMPLITUDE, "heat_map": error, "bands": answers}[unit.task]

    def plan(self) -> Iterator[tuple[Unit, Work]]:
        options = self.options
        conditions: dict[str, dict[str, Any]] = {
            "spectra": {},
            "heat_map": {"norm": options.norm, "grid": options.grid, "max_frequency": options.max_frequency},
            "bands": {"norm": options.norm, "bands": options.bands},
        }
        for model in self.request.models:
            for part in options.parts:
                definition = SPECTRA_DEFINITION if part == "spectra" else self.definition
                unit = self.unit(part, model, conditions[part], definition=definition)
                yield unit, self._work_of(unit, model)

    def _work_of(self, unit: Unit, model: str) -> Work:
        work = {"spectra": self._spectra, "heat_map": self._heat_map, "bands": self._bands}[unit.task]
        return lambda: work(unit, model)

    def _spectra(self, unit: Unit, model: str) -> Outcome:
        loaded = self.loaded_model(model)
        probes = probes_of(loaded.model)
        parts: dict[Probe, list[Spectrum]] = {probe: [] for probe in probes}

        def receive(probe: Probe, maps: Tensor) -> None:
            parts[probe].append(Spectrum.of(maps))

        batches, done = self.pixel_batches(loaded), 0
        self.say(f"feature maps of {model}", 0, len(self.indices))
        for batch in batches:
            look_at(loaded.model, probes, loaded.input(batch.images), receive)
            done += len(batch)
            self.say(f"feature maps of {model}", done, len(self.indices))
        spectra = {probe: Spectrum.joined(found) for probe, found in parts.items() if found}
        path = self.store.artifact(unit.key, FILES["spectra"])
        write_arrays(path, {f"{probe.name}_{name}": curve for probe, spectrum in spectra.items()
                            for name, curve in spectrum.curves().items()})  # fmt: skip
        rows = self._spectral_rows(loaded, spectra, self.store.place(path))
        return Outcome(rows=rows, notes=self.damage(batches))

    def _spectral_rows(self, loaded: LoadedModel, spectra: dict[Probe, Spectrum], artifact: str) -> list[Row]:
        rows, values, columns = [], list[Floats](), list[dict[str, Any]]()
        changes: list[Floats] = []
        relative: dict[str, Floats] = {}  # of the mixers' inputs
        for probe, spectrum in spectra.items():
            height, width = spectrum.size
            at: dict[str, Any] = {"stage": probe.stage, "block": probe.block, "condition": probe.place}
            at["definition"] = SPECTRA_DEFINITION
            if spectrum.is_constant:
                reason = f"a map of {height}x{width} has no frequency but 0; use a higher --resolution"
                at |= {"status": "skipped", "reason": reason, "kind": "summary"}
                rows.append(self.image_row(loaded, AMPLITUDE, None, **at))
                continue
            amplitudes = spectrum.relative
            at |= {"level": float(spectrum.frequencies[-1]), "num_images": len(amplitudes), "artifact": artifact}
            values.append(amplitudes)
            columns.append({"metric": AMPLITUDE, **at})
            if probe.place == MIXER_INPUT:
                relative[probe.module] = amplitudes
            elif probe.place == MIXER_OUTPUT and probe.module in relative:
                changes.append(amplitudes - relative[probe.module])
                values.append(changes[-1])
                columns.append({"metric": CHANGE, **at, "condition": MIXER})
        if not values:
            raise UnitError("every feature map has one unit only; use a higher --resolution")
        if changes:
            values.append(np.mean(changes, axis=0))
            known = {"condition": ALL_MIXERS, "artifact": artifact, "num_images": len(values[0])}
            columns.append({"metric": CHANGE, "definition": SPECTRA_DEFINITION, **known})
        table = np.stack(values, axis=1)
        if not np.isfinite(table).all():
            raise UnitError("a feature map is not finite")
        for interval, at in zip(mean_intervals(table, seed=self.seed), columns, strict=True):
            rows.append(self.interval_row(loaded, interval=interval, **at))
        return rows

    def _responses(self, loaded: LoadedModel, what: str, make: MakeNoise) -> tuple[Responses, dict[str, Any]]:
        """Predictions of all images under every noise, and notes on the images."""
        parts, done, batches = [], 0, self.pixel_batches(loaded)
        self.say(f"{what} of {loaded.name}", 0, len(self.indices))
        for batch in batches:
            at_once = max(1, self.request.batch_size // len(batch))
            labels = batch.labels if self.labelled and batch.labels is not None else torch.full((len(batch),), -1)
            parts.append(
                {
                    "indices": torch.tensor(batch.indices),
                    "labels": labels,
                    "clean": loaded.logits(batch.images).argmax(1).cpu(),
                    "predicted": respond(loaded, batch.images, make(batch, at_once)),
                }
            )
            done += len(batch)
            self.say(f"{what} of {loaded.name}", done, len(self.indices))
        return Responses.joined(parts), self.damage(batches, loaded)

    def _answering(self, model: str) -> tuple[LoadedModel, tuple[int, int], float]:
        """The model, its input's size, and the norm of the noise."""
        loaded = self.labelled_model(model) if self.labelled else self.loaded_model(model)
        size = loaded.preprocessing.size
        return loaded, size, self.options.norm_at(*size)

    def _heat_map(self, unit: Unit, model: str) -> Outcome:
        loaded, size, norm = self._answering(model)
        grid = FrequencyGrid.of(*size, self.options.grid, self.options.max_frequency)

        def make(batch: Batch, at_once: int) -> Iterable[Tensor]:
            signs = random_signs(self.seed, batch.indices, len(grid.vectors)).to(loaded.device)
            return basis_noise(grid, size, signs, norm, at_once)

        responses, notes = self._responses(loaded, "Fourier heat map", make)
        arrays = {"rows": grid.rows, "columns": grid.columns, "index": grid.index, "size": np.array(size), "norm": norm}
        shown = {CHANGED: responses.changed}
        if responses.is_labelled:
            shown[ERROR] = responses.wrong
        maps = {metric: found.mean(1)[grid.index].astype(np.float32) for metric, found in shown.items()}
        path = self.store.artifact(unit.key, FILES["heat_map"])
        write_arrays(path, {**arrays, **maps, **responses.arrays})
        columns = {"artifact": self.store.place(path), "num_images": len(responses.clean)}
        rows = [
            self.interval_row(loaded, metric, mean_proportion(mean_over_grid(found, grid)), **columns)
            for metric, found in shown.items()
        ]
        return Outcome(rows=rows, notes={"noise_norm": norm, "basis_vectors": len(grid.vectors), **notes})

    def _bands(self, unit: Unit, model: str) -> Outcome:
        loaded, size, norm = self._answering(model)

        def make(batch: Batch, at_once: int) -> Iterable[Tensor]:
            white = white_noise(self.seed, batch.indices, *size).to(loaded.device)
            return ring_noise(white, self.options.bands, norm, at_once)

        responses, notes = self._responses(loaded, "noise in bands", make)
        path = self.store.artifact(unit.key, FILES["bands"])
        edges = band_edges(self.options.bands)
        write_arrays(path, {"edges": np.array(edges), "norm": norm, **responses.arrays})
        known = {"artifact": self.store.place(path), "num_images": len(responses.clean)}
        rows = []
        if responses.is_labelled:
            clean = proportion(responses.clean == responses.labels)
            rows.append(self.interval_row(loaded, ACCURACY, clean, condition=CLEAN, **known))
        for (low, high), wrong, changed in zip(edges, responses.wrong, responses.changed, strict=True):
            at = {"condition": BAND, "level": (low + high) / 2, **known}
            if responses.is_labelled:
                rows.append(self.interval_row(loaded, ACCURACY, proportion(~wrong), **at))
            rows.append(self.interval_row(loaded, CONSISTENCY, proportion(~changed), **at))
        return Outcome(rows=rows, notes={"noise_norm": norm, **notes})
