"""Run every check on one entry."""

from __future__ import annotations

import dataclasses
import importlib

import torch

from stmbench.mixers import trials
from stmbench.mixers.base import MixerEntry
from stmbench.mixers.conformance.check import (
    CHECKS,
    CPU,
    BrokenPromiseError,
    Check,
    Count,
    MixerUnderTest,
    NotApplicableError,
    Outcome,
)

for module in ("configs", "forward", "gradients", "merging", "affinity"):  # fills CHECKS, in this order
    importlib.import_module(f"stmbench.mixers.conformance.{module}")


WITHOUT_RUNNING = ("frozen_config", "config_refuses_nonsense", "config_at_is_a_function")


def conform(
    entry: MixerEntry, *, count: Count | None = None, device: str | None = None, dtype: str | None = None
) -> list[Outcome]:
    """Outcomes of all checks, in the order of `CHECKS`; the global random state is left as it was.

    Args:
        entry: what the registry holds.
        count: (module, (H, W, C)) -> multiply-adds for one image; without it the MAC formula is not compared.
        device: where the mixer runs: by default on the CPU, or else on the first of its devices that this machine has.
            Where it has none of them, what needs running is skipped.
        dtype: the only one to compute in, such as float32; by default all those of the mixer.

    Raises:
        ConfigError: a device or dtype that the mixer does not have.
    """
    chosen = None if dtype is None else trials.dtype_named(dtype)
    trials.require_support(entry, device=device, dtype=chosen)
    place = trials.device_of(entry) if device is None else torch.device(device)
    kinds = trials.dtypes_of(entry) if chosen is None else (chosen,)
    mixer = MixerUnderTest(entry=entry, count=count, device=place or CPU, dtypes=kinds)
    outcomes: dict[str, Outcome] = {}
    for check in CHECKS.values():
        if place is None and check.name not in WITHOUT_RUNNING:
            why = f"it runs on {' or '.join(entry.devices)} alone, which this machine does not have"
            outcomes[check.name] = dataclasses.replace(_skipped(check, why), not_run=True)
            continue
        unmet = [name for name in check.needs if not _is_met(outcomes[name], entry)]
        if unmet:
            outcomes[check.name] = _skipped(check, f"needs {', '.join(unmet)} to pass")
        else:
            outcomes[check.name] = _outcome(check, mixer)
    return list(outcomes.values())


def _is_met(outcome: Outcome, entry: MixerEntry) -> bool:
    """Whether a check may run that needs this one: it passed, or the entry says that its promise is not made."""
    waived = {"any_size": not entry.any_size, "bfloat16": True}
    return outcome.status == "passed" or (outcome.status == "skipped" and waived.get(outcome.check, False))


def _skipped(check: Check, why: str) -> Outcome:
    return Outcome(check=check.name, status="skipped", promise=check.promise, found=why)


def _outcome(check: Check, mixer: MixerUnderTest) -> Outcome:
    devices = [mixer.device] if mixer.device.type == "cuda" else []
    proposal = ""
    with torch.random.fork_rng(devices=devices):
        try:
            check.function(mixer)
        except NotApplicableError as reason:
            return _skipped(check, str(reason))
        except BrokenPromiseError as error:
            problem, proposal = str(error), error.proposal
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # the mixer is third-party code: whatever it raises is what the check found
            problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
        else:
            return Outcome(check=check.name, status="passed", promise=check.promise)
    return Outcome(
        check=check.name,
        status="failed",
        promise=check.promise,
        found=problem,
        remedy=check.remedy,
        proposal=proposal,
    )
