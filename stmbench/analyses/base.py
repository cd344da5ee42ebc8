"""The analysis: a subclass is the science, the base is the bookkeeping.

A subclass names its units of work in order, and measures one when asked. The base's `run`, which no subclass replaces,
skips what the store holds, seeds, times, watches the machine, catches, and writes each unit's rows at once.
"""

from __future__ import annotations

import abc
import dataclasses
import datetime
import functools
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, final

import numpy as np
import torch

from stmbench.analyses.models import facts_of, mixer_facts, own_weights
from stmbench.analyses.unit import Report, Unit, failures_in
from stmbench.errors import PeerFailureError, reason_of
from stmbench.measure import environment
from stmbench.measure.backend_settings import BackendSettings
from stmbench.measure.machine_watch import Disturbance, MachineWatch
from stmbench.tables import Row, Store
from stmbench.tables.schema import unit_of

if TYPE_CHECKING:
    from stmbench.analyses.match import Matching


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands: what it does now, how much of it is done, and the seconds it will take at most."""

    text: str
    done: float = 0.0
    total: float | None = None
    seconds_left: float | None = None


Listener = Callable[[Progress], None]
REPAIRED: Final = "damaged, and measured again"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What measuring a unit gave: its rows, and notes for the part's metadata (what JSON can hold)."""

    rows: list[Row]
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Analysis(abc.ABC):
    """Base of every analysis.

    Args:
        store: where the parts go.
        seed: of weights, data and orders.
        device: 'cpu', 'cuda:0', ...
        listener: told where the run stands.
    """

    name: ClassVar[str]
    tuned: ClassVar[bool] = False  # whether cuDNN takes its fastest algorithms, rather than ones that repeat exactly

    def __init__(self, *, store: Store, seed: int, device: str, listener: Listener | None = None) -> None:
        self.store, self.seed, self.device = store, seed, device
        self.tell: Listener = listener or (lambda _: None)
        now = datetime.datetime.now(datetime.timezone.utc)
        self.run_id = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        self.machine_facts = environment.machine_facts(device)
        self.machine = environment.machine_id(self.machine_facts)
        self.software = environment.software_facts()

    @functools.cached_property
    def watch(self) -> MachineWatch:
        """Watches the machine, begun by each unit: whether units are done is asked of analyses that measure nothing."""
        return MachineWatch(self.device)

    @property
    @abc.abstractmethod
    def definition(self) -> str:
        """The protocol's name and version."""

    @abc.abstractmethod
    def units(self) -> Iterator[Unit]:
        """The units of work in order. A generator: it may look at the store between one and the next."""

    @abc.abstractmethod
    def measure(self, unit: Unit) -> Outcome:
        """Do one unit. May raise anything: the base class turns it into failed rows."""

    def is_complete(self) -> bool:
        """Whether the store has everything that a run would measure; nothing is measured to find out."""
        return all(self.is_done(unit) for unit in self.units() if not unit.derived)

    def headline(self, unit: Unit) -> str | None:
        """The metric that a failed unit's rows are named for."""
        return None

    def arithmetic(self, unit: Unit) -> BackendSettings:
        """How a unit is computed."""
        tf32 = unit.conditions.get("dtype") == "tf32"
        return BackendSettings(tf32=tf32, benchmark=self.tuned, deterministic=not self.tuned)

    def remarks(self) -> list[str]:
        """What a reader of the rows has to know about what was measured. Asked at the end of a run."""
        return []

    @final
    def run(self, *, fresh: bool = False, matching: Matching | None = None) -> Report:
        """Do every unit that the store does not hold; with `fresh`, do them all again.

        A unit that fails, whatever its model raises, is a row with status and reason and is tried again in the next
        run; the others go on. A model that `matching` left out is a skipped row with the reason.
        """
        report, forgotten = Report(), set[str]()
        for unit in self.units():
            if fresh and unit.group not in forgotten:
                forgotten.add(unit.group)
                self.forget(unit)
            if self.is_done(unit):
                if unit.key not in report.made:
                    report.reused.append(unit.key)
                report.failures += self.store.metadata(unit.key).get("failures", [])
                self._look_back(unit, report)
            else:
                if (fault := self.store.fault(unit.key)) is not None:
                    report.notes.append(f"{REPAIRED}: {fault}")
                self._do(unit, report)
            report.note(self.store.metadata(unit.key).get("disturbances", []))
            report.keys.append(unit.key)
        if matching is not None:
            self._leave_out(matching, report)
        report.notes += self.remarks()
        return report

    def forget(self, unit: Unit) -> None:
        """Remove what `fresh` measures again: the parts of the unit's group, and whatever else a subclass keeps."""
        # only a series has parts of other keys, and to know all keys takes a look at all parts
        for key in self.store.keys(group=unit.group) if unit.series else [unit.key]:
            self.store.remove(key)

    @final
    def is_done(self, unit: Unit) -> bool:
        """Whether the store holds this unit, and not as a failure."""
        stored = None if unit.derived else self.store.intact_metadata(unit.key)
        return stored is not None and stored.get("status") == "ok"

    @final
    def row(self, *, metric: str | None, value: float | None, model: str | None = None, **columns: Any) -> Row:
        """A row with the columns that this run knows filled in; the rest by name. Raises TypeError for unknown ones."""
        known: dict[str, Any] = {
            "run_id": self.run_id,
            "created_utc": datetime.datetime.now(datetime.timezone.utc),
            "kind": "raw",
            "analysis": self.name,
            "definition": self.definition,
            "model": model,
            "seed": self.seed,
            "device": self.device,
            "metric": metric,
            "value": None if value is None else float(value),
            "unit": unit_of(metric) if metric else None,
        }
        if model is not None:
            facts = facts_of(model)
            known |= {"architecture": facts.architecture, "mixer": facts.mixer, "scale": facts.scale}
            known["weights"] = own_weights(model, self.seed)
        return Row(**{**known, **columns})

    def _do(self, unit: Unit, report: Report) -> None:
        _seed_everything(unit.seed)
        self.watch.begin()
        start = time.monotonic()
        try:
            with self.arithmetic(unit).applied():
                outcome, status = self.measure(unit), "ok"
        except (KeyboardInterrupt, PeerFailureError):
            raise
        except BaseException as error:  # a model may also call sys.exit
            outcome, status = Outcome(rows=self._failed_rows(unit, reason_of(error))), "failed"
        seconds = time.monotonic() - start
        self.watch.sample()
        disturbed = self.watch.end() if unit.is_timed else []
        self.store.write(unit.key, outcome.rows, metadata=self._metadata(unit, outcome, status, seconds, disturbed))
        report.failures += self.store.metadata(unit.key)["failures"]
        if status == "ok" and not unit.derived:
            report.made.append(unit.key)

    def _leave_out(self, matching: Matching, report: Report) -> None:
        """Write why models were left out, and take back what an earlier run wrote of those that are matched now."""
        for found in matching.matches:
            if self.store.has(key := self._unmatched(found.model).key):
                self.store.remove(key)
        for model, error in matching.left_out.items():
            unit = self._unmatched(model)
            row = self.row(metric=None, value=None, model=model, status="skipped", reason=str(error))
            metadata = self._metadata(unit, Outcome(rows=[row]), "skipped", 0.0, [])
            self.store.write(unit.key, [row], metadata=metadata)
            report.keys.append(unit.key)
            report.left_out[model] = str(error)

    def _unmatched(self, model: str) -> Unit:
        return Unit(
            analysis=self.name,
            definition=self.definition,
            task="match",
            models=(model,),
            weights=(own_weights(model, self.seed),),
            conditions={},
            seed=self.seed,
            derived=True,
        )

    def _failed_rows(self, unit: Unit, reason: str) -> list[Row]:
        metric = self.headline(unit)
        return [
            self.row(metric=metric, value=None, model=model, status="failed", reason=reason) for model in unit.models
        ]

    def _metadata(
        self, unit: Unit, outcome: Outcome, status: str, seconds: float, disturbed: list[Disturbance]
    ) -> dict[str, Any]:
        return {
            "analysis": unit.analysis,
            "definition": unit.definition,
            "task": unit.task,
            "group": unit.group,
            "status": status,
            "failures": failures_in(unit, outcome.rows),
            "models": list(unit.models),
            "weights": list(unit.weights),
            "conditions": dict(unit.conditions),
            "seed": unit.seed,
            "plugins": dict(unit.plugins),
            "mixers": mixer_facts(unit.models),
            "arithmetic": self.arithmetic(unit).facts,
            **(self.watch.facts if unit.is_timed else {}),
            "machine": self.machine_facts,
            "machine_id": self.machine,
            "software": self.software,
            "commit": self.software["commit"],
            "run_id": self.run_id,
            "seconds": seconds,
            "warnings": [item.text for item in disturbed],
            "disturbances": [dataclasses.asdict(item) for item in disturbed],
            **outcome.notes,
        }

    def _look_back(self, unit: Unit, report: Report) -> None:
        """A kept part of another commit is said: the code may have changed what it measured."""
        commit = self.store.metadata(unit.key).get("commit")
        if commit and self.software["commit"] and commit != self.software["commit"]:
            line = f"parts of commit {commit[:8]} were kept; --fresh measures them again"
            if line not in report.notes:
                report.notes.append(line)


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
