"""The mixer contract as checks: `stmbench check FILE` runs them on a user's mixer, the tests on every registered one.

    outcomes = conform(MIXERS.get("dw_conv"), count=counter)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]

Every check tests one promise, on perturbed initial weights (a layer that starts at zero hides dead parameters), in
float64 where numbers are compared. A check whose prerequisite failed is skipped, so that one fault is one failure.

    check       `Check`, `Outcome`, the `check` decorator, and `MixerUnderTest`: what the checks examine
    run         `conform`: all checks on one entry
    configs     the config, the position and the options
    forward     sizes, dtypes, layout, determinism; low precision, reference, MAC formula, copies
    gradients   every parameter learns, or is declared
    merging     the merged form, where there is one
    affinity    the affinity contract
"""

from stmbench.mixers.conformance.check import CHECKS, BrokenPromiseError, Check, Count, MixerUnderTest, Outcome
from stmbench.mixers.conformance.run import conform

__all__ = ["CHECKS", "BrokenPromiseError", "Check", "Count", "MixerUnderTest", "Outcome", "conform"]
