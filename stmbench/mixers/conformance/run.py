"""Run every check on one entry."""

from __future__ import annotations

import importlib

import torch

from stmbench.mixers.base import MixerEntry
from stmbench.mixers.conformance.check import (
    CHECKS,
    BrokenPromiseError,
    Check,
    Count,
    MixerUnderTest,
    NotApplicableError,
    Outcome,
)

for module in ("configs", "forward", "gradients", "affinity"):  # fills CHECKS, in this order
    importlib.import_module(f"stmbench.mixers.conformance.{module}")


def conform(entry: MixerEntry, *, count: Count | None = None) -> list[Outcome]:
    """Outcomes of all checks, in the order of `CHECKS`; the global random state is left as it was.

    Args:
        entry: what the registry holds.
        count: (module, (H, W, C)) -> multiply-adds for one image; without it the MAC formula is not compared.
    """
    mixer = MixerUnderTest(entry=entry, count=count)
    outcomes: dict[str, Outcome] = {}
    for check in CHECKS.values():
        unmet = [name for name in check.needs if outcomes[name].status != "passed"]
        if unmet:
            outcomes[check.name] = Outcome(
                check=check.name, status="skipped", promise=check.promise, found=f"needs {', '.join(unmet)} to pass"
            )
        else:
            outcomes[check.name] = _outcome(check, mixer)
    return list(outcomes.values())


def _outcome(check: Check, mixer: MixerUnderTest) -> Outcome:
    with torch.random.fork_rng(devices=[]):
        try:
            check.function(mixer)
        except NotApplicableError as reason:
            return Outcome(check=check.name, status="skipped", promise=check.promise, found=str(reason))
        except BrokenPromiseError as error:
            problem = str(error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # the mixer is third-party code: whatever it raises is what the check found
            problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
        else:
            return Outcome(check=check.name, status="passed", promise=check.promise)
    return Outcome(check=check.name, status="failed", promise=check.promise, found=problem, remedy=check.remedy)
