"""A training run that ends itself with SIGKILL: python -m tests.training.killed_run STORE DATA STEP."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from stmbench.analyses.base import Progress
from tests.training.runs import RANDOM, STEPS, settings, training


def main(out: str, dataset: str, fatal: str) -> None:
    def listen(event: Progress) -> None:
        if round(event.done * STEPS * RANDOM.epochs) == int(fatal):
            os.kill(os.getpid(), signal.SIGKILL)

    training(Path(out), settings(dataset, recipe=RANDOM), listener=listen).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
