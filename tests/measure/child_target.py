"""What the tests' child process runs: holds so many MiB, prints, or fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def prepare(arguments: Mapping[str, Any]) -> Callable[[], Callable[[], object]]:
    print("a plug-in may print while it is imported")

    def build() -> Callable[[], object]:
        import torch

        held = torch.ones(arguments["mib"] * 2**18)  # 4 bytes each

        def run() -> None:
            if arguments.get("fail"):
                raise RuntimeError("no such\nkernel")
            print(held.sum() + torch.ones(arguments["mib"] * 2**18).sum())

        return run

    return build
