"""What the tests' child process runs: holds so many MiB, prints, fails, calls an operator of ours, or never ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def prepare(arguments: Mapping[str, Any]) -> Callable[[], Callable[[], object]]:
    print("a plug-in may print while it is imported")

    if "waits" in arguments:
        Path(arguments["waits"]).write_text(str(os.getpid()))
        while True:  # as a model that takes long: the interpreter is never idle
            pass

    def build() -> Callable[[], object]:
        import torch

        held = torch.ones(arguments["mib"] * 2**18)  # 4 bytes each

        def run() -> None:
            if arguments.get("fail"):
                raise RuntimeError("no such\nkernel")
            if arguments.get("scans"):
                from stmbench.mixers.ops.scan import linear_scan

                linear_scan(torch.ones(1, 1, 2, 1), torch.ones(1, 1, 2, 1))
            print(held.sum() + torch.ones(arguments["mib"] * 2**18).sum())

        return run

    return build
