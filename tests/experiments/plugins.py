"""Plug-ins of tests: a mixer that does nothing, in a file that does something to the process that loads it."""

from __future__ import annotations

from pathlib import Path

from tests.experiments.files import write

MIXER = """import multiprocessing
import os
import signal
import time
from pathlib import Path

from torch import nn

from stmbench.mixers.base import MixerConfig, register_mixer

PLACE = Path({place!r})


@register_mixer("{name}", config=MixerConfig)
class Idle(nn.Module):
    def __init__(self, config):
        super().__init__()

    def forward(self, x):
        return x


"""
FATAL = """
calls = []


def forward(self, x):
    calls.append(x.requires_grad)
    if sum(calls) == 2 and not list(PLACE.glob("*.pid")):
        (PLACE / f"{os.getpid()}.pid").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x


Idle.forward = forward
"""
IN_A_WORKER = "if multiprocessing.parent_process() is not None:\n"
NOTE = "    (PLACE / f'{os.getpid()}.pid').touch()\n"
COUNT = "    if len(list(PLACE.glob('*.pid'))) <= TIMES:\n"
DIE = f"{IN_A_WORKER}{NOTE}{COUNT}        os.kill(os.getpid(), signal.SIGKILL)\n"
STAY = f"{IN_A_WORKER}{NOTE}    time.sleep(300)\n"


def plugin(folder: Path, then: str = "", *, name: str = "passthrough") -> Path:
    """A plug-in file, and after its mixer the code `then`."""
    return write(folder, MIXER.format(place=str(folder), name=name) + then, f"{name}.py")


def killer(folder: Path, times: int, *, name: str = "killer") -> Path:
    """A plug-in that kills the first `times` worker processes that load it, and notes each in `<pid>.pid`."""
    return plugin(folder, DIE.replace("TIMES", str(times)), name=name)


def killer_at_work(folder: Path) -> Path:
    """A plug-in whose mixer kills the first process that trains it, amid its first step."""
    return plugin(folder, FATAL, name="killer")


def sleeper(folder: Path) -> Path:
    """A plug-in in which a worker process stays, once it has noted itself in `<pid>.pid`."""
    return plugin(folder, STAY, name="sleeper")


def noted(folder: Path) -> list[int]:
    """The processes that noted themselves."""
    return sorted(int(path.stem) for path in folder.glob("*.pid"))
