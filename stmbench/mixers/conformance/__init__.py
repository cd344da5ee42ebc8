"""The mixer contract as checks: `stmbench check FILE` runs them on a user's mixer, the tests on every registered one.

    outcomes = conform(MIXERS.get("dw_conv"), count=counter)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]

Every check looks at one promise, on weights that were moved off their start (a zero start hides dead parameters), in
float64 where numbers are compared. A check whose premise failed already is skipped, so that one fault is one failure.
"""

from stmbench.mixers.conformance.check import CHECKS, BrokenPromiseError, Check, Outcome
from stmbench.mixers.conformance.run import conform
from stmbench.mixers.conformance.subject import Count, Subject

__all__ = ["CHECKS", "BrokenPromiseError", "Check", "Count", "Outcome", "Subject", "conform"]
